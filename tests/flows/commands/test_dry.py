"""The plan of a run without the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.commands.dry import plan_run
from models.config import Run
from tasks.run.folder import Workdir
from tasks.run.journal import Journal
from tasks.tracking.seal_book import SealBook


class Unheard(Journal):
    """A journal whose store takes nothing."""

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        return None


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://someone:secret@127.0.0.1:1"])
def test_a_dry_run_has_the_seal_that_a_run_has_kept(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{k * 37 % 991 / 7:.3f},{k % 7},{'yes' if k % 3 else 'no'}" for k in range(1000))
    Path("t.csv").write_text(f"a,b,y\n{rows}\n")
    run = Run(data="t.csv", target="y", search={"trials": 1, "families": ("constant",)})
    drawn = plan_run(run)["sealed"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with Unheard(tmp_path / "work", "t", start=False) as journal:
        seals = SealBook("t", Workdir(tmp_path / "work"), journal)
        half = {"kind": "random", "columns": ("a", "b"), "fraction": 0.5, "salt": 3, "cut": None}
        seals.write({**half, "share": None, "target": "binary:a,b"})
    assert plan_run(run)["sealed"] > 2 * drawn > 0


@pytest.mark.parametrize(
    ("search", "families", "trials", "each"),
    [
        ("grid", {"linear": {"steps": 4}}, 30, {"linear": 21}),
        ("grid", {"linear": {"steps": 4}}, 21, {"linear": 21}),
        ("manual", {"linear": {"configurations": [{"strength": 0.1}, {"strength": 0.2}]}}, 5, {"linear": 3}),
        ("tpe", {}, 5, {"linear": 5, "constant": 1}),
        ("tpe", {"lda": {"space": {"shrinkage": 0.5}}}, 5, {"lda": 1}),
    ],
)
def test_a_dry_run_counts_no_more_configurations_than_a_study_has(
    search, families, trials, each, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{k * 37 % 991 / 7:.3f},{k % 7},{'yes' if k % 3 else 'no'}" for k in range(300))
    Path("t.csv").write_text(f"a,b,y\n{rows}\n")
    wanted = {"trials": trials, "strategy": search, "families": tuple(each)}
    plan = plan_run(Run(data="t.csv", target="y", search=wanted, families=families))
    assert plan["fits"] == sum(each.values()) * len(plan["folds"]) * plan["how"]["inner"]
