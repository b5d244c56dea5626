"""MLflow: the record for people, and the registry of champions."""
