"""Where a deployed run works: the first step of every deployment (`pull` in deployments/prefect.yaml)."""

from __future__ import annotations

import os


def work_here() -> dict[str, str]:
    """The folder that this process works in from now on: NESTOR_HOME, else where its worker was started."""
    # A worker starts a run in a temporary folder, but hands its own environment on.
    os.chdir(os.path.expanduser(os.environ.get("NESTOR_HOME") or os.environ.get("PWD") or "."))
    return {"directory": os.getcwd()}
