"""`nestor check`: the validation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flows.commands import flags
from flows.commands.asked import Asked, gathered, made_run
from flows.commands.options import takes
from flows.screen.printing import show, show_json
from models.errors import InputError

if TYPE_CHECKING:
    from models.data.table import Finding

EXAMPLES = (
    "nestor check loans.csv --target paid",
    "nestor check loans.csv --target paid --json | jq .findings",
    "nestor check postgresql://me@host/shop --query orders --target returned",
)


OPTIONS = flags.of_run(
    "data", "query", "bound", "target", "test", "task", "positive", "weight", "drop", "types", "grid", "order",
    "split.group", "split.time", "split.id", "split.new_seal", "name", "",
)  # fmt: skip


@takes(OPTIONS)
def check(asked: Asked, as_json: flags.AsJson = False) -> None:
    """Look a table over as `train` would, and say what is wrong with it. Exit code 2 where training would stop."""
    run = made_run(gathered(asked), asked)
    from tasks.planning.checks import check as checked

    _, findings = checked(run)
    stops = any(found.verdict == "stop" for found in findings)
    _show(findings, stops, as_json)
    if stops:
        raise SystemExit(InputError.exit_code)


def _show(findings: Sequence[Finding], stops: bool, as_json: bool) -> None:
    if as_json:
        return show_json({"ok": not stops, "findings": [asdict(found) for found in findings]})
    from flows.screen.tables import findings_line, findings_table

    show(findings_table(findings), findings_line(findings))
