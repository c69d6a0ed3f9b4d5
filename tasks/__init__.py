"""One stage per module: thin Prefect tasks around the pure functions of `models`."""
