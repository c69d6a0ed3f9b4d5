"""What a worker may run: what the folder's deployments file, or the project's, says, and nothing else.

Whoever may ask Prefect's API can make deployments there whose steps or settings run any command. The file is the user's
own; so a deployment is run only where an entry of it has the same flow, the same steps before it and the same
infrastructure: command, working directory, environment. Names, parameters and schedules may differ, but parameters that
let our flows run code (a pickle, a function by its name) only where the file gives them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ANYTHING = "NESTOR_ALLOW_ANY_DEPLOYMENT"
"""The environment variable with which a worker runs whatever its server has."""
SET = ("command", "working_dir", "env")
"""What of the infrastructure decides what is run."""
PROJECT = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
METRICS, ABOVE = ("metric", "objectives", "limits"), {"changes", "search"}
"""Settings in which `module:attribute` is imported, and the groups that they stand in."""
_PLAIN = re.compile(r"\s*(gap\s*:|parity\s*:|pinball:[\d.]+\s*$)", re.IGNORECASE)
"""What has a colon there and is no module."""


def find_deployments_file(folder: Path) -> Path | None:
    """The folder's own deployments, else the project's."""
    places = (folder / "prefect.yaml", folder / "deployments" / "prefect.yaml", PROJECT)
    return next((path for path in places if path.is_file()), None)


def explain_not_allowed(
    folder: Path, deployment: Any, infrastructure: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
) -> str | None:
    """A sentence on why this deployment of Prefect's is not run, None where it may be. `infrastructure`: what a run
    would be given that is not the worker's own: `command`, `working_dir`, `env`, as far as they are set; `parameters`:
    those of the flow run."""
    if os.environ.get(ANYTHING, "").lower() in ("1", "true", "yes"):
        return None
    file = find_deployments_file(folder)
    problem = _explain_difference(deployment, infrastructure, entries := list(_read_entries(folder, file)))
    part = "the deployment"
    if problem is None:
        problem, part = _explain_code(deployment, parameters or {}, entries), "the deployment with these `parameters`"
    target = file if file != PROJECT else folder / "prefect.yaml"
    return problem and (
        f"Refused: this worker runs what {file} says, and {problem}. Put {part} into {target} and start `nestor up` "
        f"again, or set {ANYTHING}=true for the worker: it then runs whatever its server has."
    )


def _explain_difference(
    deployment: Any, infrastructure: Mapping[str, Any], entries: list[dict[str, Any]]
) -> str | None:
    if deployment is None:
        return "this run belongs to no deployment"
    candidates = [entry for entry in entries if entry["entrypoint"] == deployment.entrypoint]
    if not candidates:
        return f"the flow {deployment.entrypoint!r} is not there"
    matches = [entry for entry in candidates if _has_steps(entry, deployment)]
    if not matches:
        return "the steps before the run (pull) are others there"
    if infrastructure not in [entry["infrastructure"] for entry in matches]:
        return f"the settings of the infrastructure ({', '.join(infrastructure) or 'none'}) are others there"
    return None


def _explain_code(deployment: Any, parameters: Mapping[str, Any], entries: list[dict[str, Any]]) -> str | None:
    """What of the parameters lets one of our flows run code though no entry says so. Other flows are their owner's."""
    candidates = [entry for entry in entries if entry["entrypoint"] == deployment.entrypoint]
    if not any(entry["ours"] for entry in candidates):
        return None
    if parameters in [values for entry in candidates for values in entry["given"]]:
        return None
    settings = {setting for entry in candidates for setting in _find_code_settings(entry["given"][0])}
    extra = next((setting for setting in _find_code_settings(parameters) if setting not in settings), None)
    return extra and f"{extra} in the parameters lets a run execute code and is not in the parameters there"


def _find_code_settings(parameters: Any) -> Iterator[str]:
    """The settings that make a run load a pickle, import a function by its name, or read what is kept elsewhere."""
    for path, value in _walk_leaves(parameters):
        if "$ref" in path or (path[-1:] == ["unsafe"] and value):
            yield f"{'.'.join(path)}: {value}"
        index = next((place for place, name in enumerate(path) if name in METRICS), 0)
        is_metric = index > 0 and set(path[1:index]) <= ABOVE
        for text in () if not is_metric else (".".join(path[index + 1 :]), *str(value).split(",")):
            if ":" in text and not _PLAIN.match(text):
                yield f"{'.'.join(path)}: {value}"


def _walk_leaves(value: Any, path: Sequence[str] = ()) -> Iterator[tuple[list[str], Any]]:
    """(names on the way, value) of each value, with dots and lines such as `search.trials=3` taken apart."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _walk_leaves(inner, [*path, *(part.strip() for part in str(name).split("."))])
    elif isinstance(value, (list, tuple)):
        for item in value:
            # As `paired` takes a line apart: at its last sign.
            name, sign, rest = item.rpartition("=") if isinstance(item, str) else ("", "", item)
            yield from _walk_leaves({name: rest} if sign else item, path)
    else:
        yield list(path), value


def _read_entries(folder: Path, file: Path | None) -> Iterator[dict[str, Any]]:
    """What is compared of each deployment in the file and in the project's."""
    for path in dict.fromkeys((file, PROJECT)):
        if path is None or not path.is_file():
            continue
        content = yaml.safe_load(path.read_text("utf-8")) or {}
        for entry in content.get("deployments") or []:
            if not entry.get("entrypoint"):
                continue
            variables = (entry.get("work_pool") or {}).get("job_variables") or {}
            parameters = _fill_variables(entry.get("parameters") or {})
            schedules = [_fill_variables(schedule.get("parameters") or {}) for schedule in entry.get("schedules") or []]
            pull = content.get("pull") if entry.get("pull") is None else entry["pull"]
            yield {
                "entrypoint": _fill_variables(entry["entrypoint"]),
                "steps": _make_steps(pull, folder),
                "infrastructure": {k: v for k, v in _fill_variables(variables).items() if k in SET and v},
                # Those of the deployment, and with them those of each schedule.
                "given": [parameters, *({**parameters, **schedule} for schedule in schedules)],
                "ours": path == PROJECT,
            }


def _make_steps(pull: Any, folder: Path) -> Any:
    """The steps as Prefect's `deploy` puts them on the server: without any, it makes one that goes to the folder."""
    if pull is None:
        return [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
    return pull


def _has_steps(entry: Mapping[str, Any], deployment: Any) -> bool:
    # Code from elsewhere: `deploy` sets neither of the two.
    is_here = deployment.storage_document_id is None and deployment.path in (None, "", ".")
    return is_here and (deployment.pull_steps or []) == entry["steps"]


def _fill_variables(value: Any) -> Any:
    """The value with the environment's variables in it, as `deploy` fills them in."""
    from prefect.utilities.templating import apply_values  # slow to import

    return apply_values(value, dict(os.environ), remove_notset=False)
