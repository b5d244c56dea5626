"""The study: its events in the Optuna storage, the lease to write them, and all decisions."""
