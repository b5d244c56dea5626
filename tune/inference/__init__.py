"""Using what a search has found: predictions, and which version an alias points at."""
