"""Whether study, files, ledger and MLflow agree, and what puts them right."""
