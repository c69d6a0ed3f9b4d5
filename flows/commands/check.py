"""`nestor check`: the validation alone."""

from __future__ import annotations

from pathlib import Path

from flows.commands import options as o
from flows.screen.printing import show, show_json
from models.errors import InputError

EXAMPLES = (
    "nestor check loans.csv --target paid",
    "nestor check loans.csv --target paid --json | jq .findings",
    "nestor check postgresql://me@host/shop --query orders --target returned",
)


def check(
    data: o.Data = None,
    query: o.Query = None,
    bound: o.Bound = None,
    target: o.Target = None,
    test: o.Test = None,
    task: o.Task = None,
    positive: o.Positive = None,
    weight: o.Weight = None,
    drop: o.Drop = None,
    types: o.Types = None,
    grid: o.Grid = None,
    order: o.Order = None,
    group: o.Group = None,
    time: o.Time = None,
    id: o.Id = None,
    new_seal: o.NewSeal = False,
    name: o.Name = None,
    config: o.Config = None,
    as_json: o.AsJson = False,
) -> None:
    """Look a table over as `train` would, and say what is wrong with it. Exit code 2 where training would stop."""
    given: o.Given = {
        ("data",): data,
        ("query",): query,
        ("bound",): o.bindings(bound),
        ("target",): target,
        ("test",): test,
        ("task",): task,
        ("positive",): positive,
        ("weight",): weight,
        ("drop",): o.names(drop),
        ("types",): o.kinds(types),
        ("grid",): grid,
        ("order",): o.orders(order),
        ("split", "group"): group,
        ("split", "time"): time,
        ("split", "id"): o.names(id),
        ("split", "new_seal"): new_seal or None,
        ("name",): name,
    }
    _look(config, given, as_json)


def _look(config: Path | None, given: o.Given, as_json: bool) -> None:
    run = o.made_run(o.gathered(config, given), given)
    from flows.screen.tables import findings_line, findings_table
    from tasks.planning.checks import check as checked

    _, findings = checked(run)
    stops = [f for f in findings if f.verdict == "stop"]
    if as_json:
        from dataclasses import asdict

        show_json({"ok": not stops, "findings": [asdict(f) for f in findings]})
    else:
        show(findings_table(findings), findings_line(findings))
    if stops:
        raise SystemExit(InputError.exit_code)
