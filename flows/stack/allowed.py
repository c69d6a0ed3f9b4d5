"""What a worker may run: what the folder's deployments file, or the project's, says, and nothing else.

Whoever may ask Prefect's API can make deployments there whose steps or settings run any command. The file is the user's
own; so a deployment is run only where an entry of it has the same flow, the same steps before it and the same
infrastructure: command, working directory, environment. Names, parameters and schedules may differ."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ANYTHING = "NESTOR_ALLOW_ANY_DEPLOYMENT"
"""The environment variable with which a worker runs whatever its server has."""
SET = ("command", "working_dir", "env")
"""What of the infrastructure decides what is run."""
PROJECT = Path(__file__).parents[2] / "deployments" / "prefect.yaml"


def deployments_file(folder: Path) -> Path | None:
    """The folder's own deployments, else the project's."""
    places = (folder / "prefect.yaml", folder / "deployments" / "prefect.yaml", PROJECT)
    return next((place for place in places if place.is_file()), None)


def refusal(folder: Path, deployment: Any, infrastructure: Mapping[str, Any]) -> str | None:
    """A sentence on why this deployment of Prefect's is not run, None where it may be. `infrastructure`: what a run
    would be given that is not the worker's own: `command`, `working_dir`, `env`, as far as they are set."""
    if os.environ.get(ANYTHING, "").lower() in ("1", "true", "yes"):
        return None
    file = deployments_file(folder)
    wrong = _difference(deployment, infrastructure, list(_entries(folder, file)))
    own = file if file != PROJECT else folder / "prefect.yaml"
    return wrong and (
        f"Refused: this worker runs what {file} says, and {wrong}. Put the deployment into {own} and start `nestor up` "
        f"again, or set {ANYTHING}=true for the worker: it then runs whatever its server has."
    )


def _difference(deployment: Any, infrastructure: Mapping[str, Any], entries: list[dict[str, Any]]) -> str | None:
    if deployment is None:
        return "this run belongs to no deployment"
    of_flow = [entry for entry in entries if entry["entrypoint"] == deployment.entrypoint]
    if not of_flow:
        return f"the flow {deployment.entrypoint!r} is not there"
    with_steps = [entry for entry in of_flow if _has_steps(entry, deployment)]
    if not with_steps:
        return "the steps before the run (pull) are others there"
    if infrastructure not in [entry["infrastructure"] for entry in with_steps]:
        return f"the settings of the infrastructure ({', '.join(infrastructure) or 'none'}) are others there"
    return None


def _entries(folder: Path, file: Path | None) -> Iterator[dict[str, Any]]:
    """What is compared of each deployment in the file and in the project's."""
    for place in dict.fromkeys((file, PROJECT)):
        if place is None or not place.is_file():
            continue
        whole = yaml.safe_load(place.read_text("utf-8")) or {}
        for entry in whole.get("deployments") or []:
            if not entry.get("entrypoint"):
                continue
            given = (entry.get("work_pool") or {}).get("job_variables") or {}
            pull = whole.get("pull") if entry.get("pull") is None else entry["pull"]
            yield {
                "entrypoint": _filled(entry["entrypoint"]),
                "steps": _steps(pull, folder),
                "infrastructure": {k: v for k, v in _filled(given).items() if k in SET and v},
            }


def _steps(pull: Any, folder: Path) -> Any:
    """The steps as Prefect's `deploy` puts them on the server: without any, it makes one that goes to the folder."""
    if pull is None:
        return [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
    return pull


def _has_steps(entry: Mapping[str, Any], deployment: Any) -> bool:
    # Code from elsewhere: `deploy` sets neither of the two.
    is_here = deployment.storage_document_id is None and deployment.path in (None, "", ".")
    return is_here and (deployment.pull_steps or []) == entry["steps"]


def _filled(value: Any) -> Any:
    """The value with the environment's variables in it, as `deploy` fills them in."""
    from prefect.utilities.templating import apply_values  # slow to import

    return apply_values(value, dict(os.environ), remove_notset=False)
