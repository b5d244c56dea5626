"""Using what a search has found: predictions, and who bears an alias."""
