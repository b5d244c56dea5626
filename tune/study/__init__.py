"""The study: what the Optuna storage holds, who may write it, and all that is decided from it."""
