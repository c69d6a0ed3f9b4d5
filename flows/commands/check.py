"""`nestor check`: the validation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flows.options import flags
from flows.options.command_input import CommandInput, gather_run_values, make_run
from flows.options.option import take_options
from flows.screen.printing import show_json, show_text
from models.errors import InputError

if TYPE_CHECKING:
    from models.data.table import Finding

EXAMPLES = (
    "nestor check loans.csv --target paid",
    "nestor check loans.csv --target paid --json | jq .findings",
    "nestor check postgresql://me@host/shop --query orders --target returned",
)


OPTIONS = flags.select_run_options(
    "data", "query", "bound", "target", "test", "task", "positive", "weight", "drop", "types", "grid", "order",
    "split.group", "split.time", "split.id", "split.new_seal", "name", "",
)  # fmt: skip


@take_options(OPTIONS)
def check(inputs: CommandInput, as_json: flags.AsJson = False) -> None:
    """Look a table over as `train` would, and say what is wrong with it. Exit code 2 where training would stop."""
    run = make_run(gather_run_values(inputs), inputs)
    from tasks.planning.checks import check_table

    _, findings = check_table(run)
    stops = any(finding.verdict == "stop" for finding in findings)
    _show_findings(findings, stops, as_json)
    if stops:
        raise SystemExit(InputError.exit_code)


def _show_findings(findings: Sequence[Finding], stops: bool, as_json: bool) -> None:
    if as_json:
        return show_json({"ok": not stops, "findings": [asdict(finding) for finding in findings]})
    from flows.screen.tables import make_findings_line, make_findings_table

    show_text(make_findings_table(findings), make_findings_line(findings))
