"""Prefect's server as flows see it: found or started, asked, cancelled, one retraining at a time."""
