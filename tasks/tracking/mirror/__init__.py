"""The journal's copy in MLflow: entries within its limits, written by one process."""
