"""The end of a run: when it counts as done."""

from __future__ import annotations

from typing import Any

from tasks.evaluation.evaluate import evaluate
from tasks.planning.plan import make_plan
from tasks.reporting.publish import publish
from tasks.run import resume
from tests import runs


class Behind(runs.LocalJournal):
    """A journal whose store registers, but takes the records of the run only later."""

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        registered = {"version": 1, "run_id": "0a1b2c", "alias": "champion"}
        return registered if name == "register" else super().call(name, timeout=timeout, **args)

    def drain(self, timeout: float) -> int:
        return 3

    @property
    def trouble(self) -> str | None:
        return "MLflow takes no records (disk full)."


def test_a_run_is_done_once_mlflow_holds_all_its_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "LocalJournal", Behind)
    data = runs.make_frame()[["number", "flag", "target"]]
    run = runs.make_small_run(data=data, weight=None, drop=(), search={"trials": 1, "families": ("constant", "linear")})
    sealed = runs.begin_run(run, tmp_path / "mlruns" / "work" / "one")
    try:
        sealed.context.write_state()
        plan = make_plan(sealed)
        evaluation = evaluate(runs.tune_plan(plan))
        report = publish(evaluation)
        assert report.notes[-1] == (
            "3 records are not in MLflow yet: `--resume` sends them. MLflow takes no records (disk full)."
        )
        assert resume.read_finished_report(run, "") is None, "a resume would print the report and hand nothing over"
        assert resume.find_interrupted_run(run, "model") is not None
    finally:
        sealed.context.close()
