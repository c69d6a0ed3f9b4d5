"""MLflow's own server: started behind a door, opening where one looks for training runs."""
