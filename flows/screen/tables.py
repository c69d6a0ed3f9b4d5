"""What a person reads when a command is done: values in, rich renderables out. Names come from the user's table, so
every text is a `Text`, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from flows.screen.hints import as_typed, find_mlflow_page
from models.evaluation.verdict import MEANING, describe_basis, describe_repeats, list_further_warnings
from models.outcome import format_number
from models.text.safe import to_line, to_printable

if TYPE_CHECKING:
    from models.data.table import Finding
    from models.outcome import Interval, Report

VERDICTS = {
    "pass": ("✓", "green", "pass"),
    "warn": ("!", "yellow", "warning"),
    "stop": ("✗", "bold red", "stop"),
}


class SafeConsole(Console):
    """A console on which no text does more than be read, whoever made it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments, their texts without what a terminal obeys; rich's own signs are segments of control."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(to_printable(segment.text), segment.style)


def to_interval_text(value: Interval | None) -> Text:
    """`0.9213 [0.9155, 0.9270]`."""
    if value is None:
        return Text("-", style="dim")
    text = Text(format_number(value.value), style="bold")
    if value.low is not None and value.high is not None:
        text.append(f"  [{format_number(value.low)}, {format_number(value.high)}]", style="not bold dim")
    return text


def format_clock(seconds: float) -> str:
    """`42 s`, `1:12`, `2:03:10`."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_final_table(report: Report) -> RenderableType:
    """The whole report for the terminal: leaderboard, numbers, sentence, what was left out, where to look."""
    parts: list[RenderableType] = ["", _make_heading(report), _make_leaderboard(report), "", _make_number_table(report)]
    parts += ["", _make_objective_table(report)] if report.objectives else []
    parts += ["", Text(to_line(report.sentence, 600))] if report.sentence else []
    parts += [Text(to_line(repeats, 900))] if (repeats := describe_repeats(report)) else []
    parts += [Text(to_line(report.coverage_sentence, 300))] if report.coverage else []
    parts += ["", _make_notes(report), _make_left_out_table(report), _make_link_table(report), _make_last_line(report)]
    return Group(*[part for part in parts if part is not None])


def _make_heading(report: Report) -> Text:
    scheme = report.how
    plan = {
        "nested": f"{scheme.outer} outer x {scheme.inner} inner folds",
        "bbc": f"{scheme.inner} folds, no outer loop",
        "holdout": "one hold-out split",
    }[scheme.method]
    text = Text(to_line(report.name, 60), style="bold")
    return text.append(f"  {to_line(report.task)} · {to_line(report.metric)} · {plan}", style="not bold dim")


def _make_leaderboard(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("family", no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column("estimate (95 %)", no_wrap=True)
    for name in ("inner", "trials", "weight"):
        table.add_column(name, justify="right", no_wrap=True)
    # `winner` is by inner score; families come as the report ranks them
    for family in report.families:
        style = "bold green" if family.name == report.winner else ""
        table.add_row(
            Text(("▸ " if family.name == report.winner else "  ") + to_line(family.name), style=style),
            to_interval_text(family.estimate),
            format_number(family.inner),
            f"{family.trials:,}",
            f"{family.weight:.0%}" if family.weight else Text("-", style="dim"),
        )
    return table


def _make_number_table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    warning = "; after a warm start it may look too good" if report.warm else ""
    table.add_row(
        "estimate",
        to_interval_text(report.estimate),
        f"{MEANING['estimate']}{describe_basis(report.estimate)}{warning}",
    )
    hint = ": rely on this one" if report.warm and report.test and not report.promoted else ""
    table.add_row("test", to_interval_text(report.test), f"{MEANING['test']}{describe_basis(report.test)}{hint}")
    table.add_row("optimism", format_number(report.optimism), MEANING["optimism"])
    table.add_row("agreement", format_number(report.agreement, 2), MEANING["agreement"])
    return table


def _make_objective_table(report: Report) -> RenderableType:
    """Each objective of what was picked, and how it was picked."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("objective", no_wrap=True, max_width=32, overflow="ellipsis")
    for name in ("estimate (95 %)", "test", "delivered", "limit"):
        table.add_column(name, no_wrap=True)
    for objective in report.objectives:
        sign = "≥" if objective.greater_is_better else "≤"
        table.add_row(
            Text(to_line(f"{objective.name}, {objective.unit}" if objective.unit else objective.name)),
            to_interval_text(objective.estimate),
            format_number(objective.test.value if objective.test else None),
            format_number(objective.delivered),
            "-" if objective.limit is None else f"{sign} {objective.limit:g}",
        )
    return Group(table, *([Text(to_line(report.pick, 600), style="dim")] if report.pick else []))


def _make_notes(report: Report) -> RenderableType | None:
    warnings = list_further_warnings(report)
    lines = [Text(f"! {to_line(w.message, 300)}", style="yellow") for w in warnings[:8]]
    if len(warnings) > 8:
        lines.append(Text(f"! and {len(warnings) - 8} more: see the report", style="yellow"))
    lines += [Text(f"· {to_line(note, 300)}") for note in report.notes[:8]]
    return Group(*lines, "") if lines else None


def _make_left_out_table(report: Report) -> RenderableType | None:
    if not report.left_out:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="dim")
    groups: dict[str, list[str]] = {}
    for name, reason in report.left_out.items():
        groups.setdefault(reason, []).append(name)
    for reason, names in list(groups.items())[:12]:
        table.add_row("not tried:", Text(to_line(f"{', '.join(names)}: {reason}", 300)))
    return Group(table, "")


def _make_link_table(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if report.run_id:
        table.add_row("read on", Text(as_typed(f"nestor report {report.run_id[:12]}")))
    if report.tracking_uri:
        table.add_row("every trial", Text(find_mlflow_page(to_line(report.tracking_uri, 300))))
    if report.version is not None:
        command = f"nestor score {quote(to_line(report.name, 100))} new.csv --out scored.csv"
        table.add_row("use it", Text(as_typed(command)))
    return table


def _make_last_line(report: Report) -> Text:
    """One clear line: what is there now."""
    if report.version is None:
        return Text("\nDone; no model was registered.", style="bold yellow")
    suffix = f"@{report.alias}" if report.alias else f"/{report.version}"
    trials, duration = sum(report.trials.values()), format_clock(report.seconds.get("total", 0.0))
    text = Text(f"\nmodels:/{to_line(report.name, 100)}{suffix}", style="bold green")
    return text.append(f"  version {report.version}, {trials:,} trials, {duration}", style="not bold")


def make_findings_table(findings: Sequence[Finding]) -> RenderableType:
    """Every check with its verdict: stops first, then warnings, then passes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("what was found")
    order = {"stop": 0, "warn": 1, "pass": 2}
    for finding in sorted(findings, key=lambda f: order[f.verdict]):
        mark, style, word = VERDICTS[finding.verdict]
        text = Text(to_line(finding.message, 400), style="dim" if finding.verdict == "pass" else "")
        table.add_row(Text(f"{mark} {word}", style=style), Text(to_line(finding.check)), text)
    return table


def make_findings_line(findings: Sequence[Finding]) -> Text:
    """`12 passed, 2 warnings, 1 stop.`"""
    counts = {v: sum(f.verdict == v for f in findings) for v in VERDICTS}
    text = Text(f"{counts['pass']} passed, {counts['warn']} warning{'s' * (counts['warn'] != 1)}, ")
    return text.append(
        f"{counts['stop']} stop{'' if counts['stop'] == 1 else 's'}", style="red" if counts["stop"] else ""
    )


_GAP = 3
"""Characters between two columns."""


@dataclass(frozen=True)
class RowsTable:
    """Rows under their columns, where the width takes every column's longest word; else without the columns that can be
    spared, the first first; else one below the other. (Rich's own table takes what it lacks out of words.)"""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    spared: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's way to ask how it looks."""
        places = range(len(self.columns))
        for name in ["", *self.spared]:
            places = [place for place in places if self.columns[place] != name or not name]
            widths = self._divide_width(places, options.max_width)
            if widths:
                return [self._draw_table(places, widths)]
        return self._draw_records()

    def _divide_width(self, places: Sequence[int], width: int) -> list[int] | None:
        """Each column's characters: those of its longest word, and of what is left over what it can use, from left
        to right; None where that is too much."""
        texts = [[self.columns[place], *(_as_text(row[place]).plain for row in self.rows)] for place in places]
        widths = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in texts]
        room = width - sum(widths) - _GAP * (len(places) - 1)
        if room < 0:
            return None
        for index, column in enumerate(texts):
            extra = min(room, max(map(cell_len, column)) - widths[index])
            widths[index], room = widths[index] + extra, room - extra
        return widths

    def _draw_table(self, places: Sequence[int], widths: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        for place, width in zip(places, widths, strict=True):
            table.add_column(self.columns[place], width=width)
        for row in self.rows:
            table.add_row(*[_as_text(row[place]) for place in places])
        return table

    def _draw_records(self) -> Iterable[RenderableType]:
        for row in self.rows:
            table = Table.grid(padding=(0, 2))
            table.add_column(style="dim", no_wrap=True)
            table.add_column(overflow="fold")
            for name, cell in zip(self.columns, row, strict=True):
                table.add_row(name, _as_text(cell))
            yield table
            yield ""


def _as_text(cell: Any) -> Text:
    return cell if isinstance(cell, Text) else Text(to_line(cell, 200))


def make_rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], spared: Sequence[str] = ()) -> RowsTable:
    """A plain table of texts, numbers and intervals; `spared` names columns that a narrow terminal may lack."""
    return RowsTable(columns, [tuple(row) for row in rows], spared)
