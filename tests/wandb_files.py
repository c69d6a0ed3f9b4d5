"""What Weights & Biases holds of a run: its offline files, read back by its own reader."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any


def read_runs(workdir: Path) -> dict[str, dict[str, Any]]:
    """All that is in the run's offline files, by key; a key that stands twice is an error."""
    from wandb.util import get_core_path

    reader = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file"]
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((workdir / "wandb").glob("*/*.wandb")):
        done = subprocess.run([*reader, str(file), str(file.parent)], capture_output=True, text=True, check=True)
        run = _build_run([json.loads(line) for line in done.stdout.splitlines()])
        assert run["key"] not in found, f"{run['key']} stands twice"
        found[run["key"]] = run
    ids = {run["id"]: key for key, run in found.items()}
    assert len(ids) == len(found), "two runs have one id"
    for run in found.values():
        run["parent"] = ids.get(run["parent"], run["parent"])
    return found


def _build_run(records: list[dict[str, Any]]) -> dict[str, Any]:
    by_type: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        by_type[record["type"]].append(record.get(record["type"]))
    (run,), (end,) = by_type["run"], by_type["exit"]
    config = {k: v for k, v in run["config"]["update"].items() if k != "_wandb"}
    own, table = config.pop("nestor"), config.pop("dataset", None)
    history: dict[str, list[Any]] = defaultdict(list)
    for step in by_type["history"]:
        for name, value in step["item"].items():
            if not name.startswith("_"):
                history[name].append((step["item"]["_step"], str(value)))
    return {
        "key": own.pop("key"),
        "id": run["run_id"],
        "project": run["project"],
        "group": run["run_group"],
        "kind": run["job_type"],
        "name": run["display_name"],
        "parent": own.pop("parent", ""),
        "status": own.pop("status"),
        "times": (own.pop("start"), own.pop("end")),
        "tags": own,
        "params": _flatten_values(config),
        "dataset": table,
        "history": dict(history),
        "exit": end["exit_code"],
        "files": {
            entry["path"]: int(entry["size"])
            for artifact in by_type["artifact"]
            for entry in artifact["manifest"]["contents"]
        },
        "raw": json.dumps(records),
    }


def _flatten_values(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """`{"best": {"rate": 1}}` as W&B shows it: `{"best.rate": 1}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= (
            _flatten_values(value, f"{above}{name}.") if isinstance(value, dict) and value else {above + name: value}
        )
    return found
