"""Which stage follows which: no arithmetic, no files, no MLflow."""
