"""Data: from published files, or a simulation, to batches of pairs."""
