"""A run with `--mirror wandb`, killed and resumed, stands whole in the files of Weights & Biases, as in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import commands, wandb_files
from tests.commands import TIMES, Command, read_mirror, serve_folder
from tests.runs import list_living, wait_for
from tests.test_resume import TRAIN

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]


def test_a_killed_and_resumed_run_is_the_same_in_both_mirrors(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setitem(commands.QUIET, "WANDB_MODE", "offline")
    with serve_folder(tmp_path) as folder:
        first = Command(folder, *TRAIN, "--mirror", "wandb")
        assert first.reached(17), "it ended before it could be killed"
        assert first.kill("main")
        (workdir,) = folder.glob("mlruns/work/*")
        stopped = wandb_files.read_runs(workdir)
        assert stopped["run"]["status"] == "KILLED"
        second = Command(folder, *TRAIN, "--mirror", "wandb", "--resume")
        assert second.reached(30), "it ended before its mirror could be killed"
        mirror = [p for p in second.processes if "tasks.tracking.wandb_mirror.writer" in p.cmdline()]
        mirror[0].kill()
        second.result()
        wait_for(lambda: not list_living(mirror), 60)
        assert _as_mirrored(workdir) == _as_texts(read_mirror(folder))
        assert set(wandb_files.read_runs(workdir)["run"]["files"]) == {
            str(p.relative_to(workdir / "artifacts")) for p in (workdir / "artifacts").rglob("*") if p.is_file()
        }


def _as_mirrored(workdir: Path) -> dict[str, Any]:
    """What W&B holds, as `mirrored` tells it of MLflow."""
    return {
        key: (
            run["status"],
            run["kind"],
            run["tags"].get("state"),
            {name: float(steps[-1][1]) for name, steps in run["history"].items() if not TIMES.search(name)},
            {name: str(value).removesuffix(".0") for name, value in run["params"].items()},
        )
        for key, run in wandb_files.read_runs(workdir).items()
    }


def _as_texts(runs: dict[str, Any]) -> dict[str, Any]:
    """MLflow's params with whole numbers as W&B's reader has them: `0` for `0.0`."""
    return {key: (*run[:4], {k: v.removesuffix(".0") for k, v in run[4].items()}) for key, run in runs.items()}
