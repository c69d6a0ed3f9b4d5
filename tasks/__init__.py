"""One stage per module, around the pure functions of `models`: files, processes and clocks are here. As tasks of
Prefect the stages stand in `stages/`."""

import os

# Nothing is sent to anybody who was not named. Prefect and MLflow read these when they are imported.
for _name, _value in (
    ("DO_NOT_TRACK", "1"),
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
):
    os.environ.setdefault(_name, _value)
