"""The stages of every flow as Prefect tasks, one file per flow, and what Prefect's page shows of them."""
