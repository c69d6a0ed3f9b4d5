"""The plan of a run without the run: nothing is tuned, registered or told to MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.screen.tables import format_clock
from flows.server.begin import prepare
from models.config import Run
from models.text.address import mask_address
from models.text.safe import to_line
from models.tuning.strategy import MOST_TRIALS
from tasks.context import RunContext
from tasks.planning.search_plan import count_configurations
from tasks.run.folder import Workdir
from tasks.run.journal import Journal, JournalRecord, find_default_address
from tasks.run.ledger import Ledger
from tasks.run.resume import choose_model_name
from tasks.tracking import seal_copy
from tasks.tracking.seal_book import SealBook
from tasks.values import RunPlan


class _SilentJournal:
    """A journal that nobody reads."""

    earlier: frozenset[str] = frozenset()
    empty = True

    @property
    def tracking_uri(self) -> str:
        """The store's address as a journal has it: by this text a kept seal is found."""
        return mask_address(find_default_address())

    def record(self, record: JournalRecord) -> None:
        """Tells nobody."""

    def close(self) -> None:
        """Nothing to close."""


class _DrySeals(SealBook):
    """How the name's rows are sealed so far; nothing is fixed."""

    def ask_store(self) -> dict[str, Any] | None:
        """The seal that MLflow holds, asked by this process."""
        return None if self.store_is_new else seal_copy.ask_store(self.name, find_default_address())

    def write(self, settings: Mapping[str, Any]) -> None:
        """Leaves it to the first real run to fix the seal."""


def plan_run(run: Run) -> dict[str, Any]:
    """Reads, checks, seals and plans in a folder that is gone afterwards; the plan as JSON values."""
    with tempfile.TemporaryDirectory(prefix="nestor-") as path:
        folder, journal = Workdir(Path(path)), cast(Journal, _SilentJournal())
        context = RunContext(run, choose_model_name(run), folder, Ledger(run.seconds, time.time()), journal)
        context.seals = _DrySeals(context.name, folder, journal)
        try:
            return _summarize_plan(prepare(context))
        finally:
            context.close()


def _summarize_plan(plan: RunPlan) -> dict[str, Any]:
    scope, run = plan.scope, plan.run
    studies = _count_configurations(plan)
    return {
        "name": plan.context.name,
        "task": plan.work_rows.task,
        "metric": plan.metric.name,
        "objectives": [objective.name for objective in plan.goal.beside],
        "limits": [limit.words for limit in plan.goal.limits],
        "rows": plan.work_rows.rows,
        "sealed": plan.sealed_rows.rows if plan.sealed_rows is not None else 0,
        "how": asdict(scope.how),
        "families": list(scope.families),
        "left_out": dict(scope.left_out),
        "folds": list(plan.folds),
        "trials": max(studies, default=None),
        "fewest": min(studies, default=None),
        "fits": sum(studies) * max(1, scope.inner) or None,
        "seconds": run.seconds,
        "notes": plan.context.notes,
    }


def _count_configurations(plan: RunPlan) -> list[int]:
    """About how many configurations each study tries; empty where that is not known."""
    limit = plan.scope.trials or plan.run.search.trials or _estimate_affordable(plan)
    studies = [(name, fold) for name in plan.scope.families for fold in plan.folds]
    return [int(min(limit, count_configurations(plan, *study))) for study in studies] if limit else []


def _estimate_affordable(plan: RunPlan) -> int | None:
    """About how many configurations per family and fold the time allows, when all cost what the defaults do."""
    cost = sum(plan.default_seconds.get(name, 0.0) for name in plan.scope.families)
    if not cost or not plan.run.seconds:
        return None
    inner = max(1, plan.scope.inner)
    count = int(0.8 * plan.run.seconds * plan.context.workers / (cost * inner * len(plan.folds)))
    return min(MOST_TRIALS, max(1, count))


def _describe_work(plan: dict[str, Any]) -> str:
    """`160 fits, 4 configurations per family and fold`, `100 fits, 1 to 4 configurations per family and fold`."""
    if not plan["fits"]:
        return "as many configurations as the time allows"
    prefix, low, high = "" if plan["seconds"] is None else "about ", plan["fewest"], plan["trials"]
    count = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"{prefix}{plan['fits']:,} fits, {prefix}{count} configuration{'s' * (high != 1)} per family and fold"


def make_plan_table(plan: dict[str, Any]) -> RenderableType:
    """The plan for people."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    rows = {
        "table": f"{plan['rows']:,} rows to work with, {plan['sealed']:,} sealed",
        "judged by": f"{plan['metric']} ({plan['task']})",
        **({"and by": ", ".join(plan["objectives"])} if plan["objectives"] else {}),
        **({"within": ", ".join(plan["limits"])} if plan["limits"] else {}),
        "folds": f"{plan['how']['method']}: {plan['how']['outer']} outer, {plan['how']['inner']} inner",
        "families": ", ".join(plan["families"]),
        "work": _describe_work(plan),
        "time": format_clock(plan["seconds"]) if plan["seconds"] else "as long as it takes",
        **{f"not tried: {name}": reason for name, reason in plan["left_out"].items()},
    }
    for name, text in rows.items():
        table.add_row(Text(to_line(name)), Text(to_line(text, 400)))
    notes = [Text(f"· {to_line(note, 300)}") for note in plan["notes"]]
    return Group(
        Text(to_line(plan["name"], 100), style="bold"), table, *notes, Text("Nothing was trained.", style="dim")
    )
