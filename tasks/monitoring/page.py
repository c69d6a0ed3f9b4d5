"""What a person reads of a watch: a self-contained page, and its table as rows."""

from __future__ import annotations

import time
import warnings
from typing import Any

from models.analysis import plots
from models.monitoring.drift import ColumnDrift, Drift
from models.outcome import format_number, format_p_value
from models.text.markdown import escape_markdown
from tasks.reporting.page_parts import (
    render_figure,
    render_figures,
    render_page,
    render_section,
    render_table,
    render_tile,
    to_html,
)

SHOWN = 24
"""Columns that get a figure."""
HEADS = ("column", "", "PSI", "distance", "p, corrected", "missing, then", "now", "mean, then", "now", "new levels")


def render_drift(name: str, version: int, data: str, drift: Drift) -> str:
    """The page."""
    with plots.apply_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font for measuring lacks is there in the browser's
        parts = [
            _render_head(name, version, data, drift),
            _render_tiles(drift),
            "".join(f"<p>{to_html(note)}</p>\n" for note in drift.notes),
            render_section(
                "Columns", render_table(HEADS, [_make_row(c) for c in drift.columns], numeric=range(2, len(HEADS)))
            ),
            render_section("Then and now", _render_figures(drift)),
            render_section("How it is compared", f"<p>{to_html(_explain_method(drift), 2000)}</p>\n"),
            f"<footer>Nestor, {time.strftime('%Y-%m-%d %H:%M')}</footer>\n",
        ]
    return render_page(f"{name}: watch", parts)


def _render_head(name: str, version: int, data: str, drift: Drift) -> str:
    meta = " · ".join(to_html(part) for part in (f"version {version}", data, f"{drift.rows[1]:,} rows") if part)
    return (
        f'<header>\n<h1>{to_html(name, 120)}</h1>\n<div class="meta">{meta}</div>\n'
        f'<p class="headline">{to_html(drift.sentence, 1000)}</p>\n</header>\n'
    )


def _render_tiles(drift: Drift) -> str:
    predictions = [c for c in drift.columns if c.part == "prediction"]
    maximum = max(drift.columns, key=lambda c: c.psi * (not c.moves), default=None)
    tiles = [
        render_tile(
            "Columns that drift", str(sum(c.part == "feature" for c in drift.alarms)), f"of {_count_features(drift)}"
        ),
        render_tile("Largest PSI", format_number(maximum.psi if maximum else None), maximum.name if maximum else ""),
        render_tile("Predictions", format_number(max((c.psi for c in predictions), default=None)), "largest PSI"),
    ]
    if (performance := drift.performance) is not None:
        tiles.append(
            render_tile(
                performance.metric,
                format_number(performance.now),
                f"{format_number(performance.then)} then; z = {performance.z:+.1f}",
            )
        )
    return f'<div class="tiles">\n{"".join(tiles)}</div>\n'


def _count_features(drift: Drift) -> int:
    return sum(c.part == "feature" for c in drift.columns)


def _make_row(column: ColumnDrift) -> tuple[str, ...]:
    mark = {True: '<span class="stop">drifts</span>', False: ""}[column.alarm]
    return (
        to_html(column.name), mark or ('<span class="dim">moves</span>' if column.moves else ""),
        *map(to_html, (format_number(column.psi), format_number(column.distance), format_p_value(column.p),
                   *(f"{m:.1%}" for m in column.missing), *map(_choose_mean_format(column), column.mean),
                   "-" if column.new_levels is None else f"{column.new_levels:.1%}")),
    )  # fmt: skip


def _choose_mean_format(column: ColumnDrift) -> Any:
    """How a mean of the column is written; of dates the day."""
    if column.kind != "date":
        return format_number
    return lambda value: "-" if value is None else time.strftime("%Y-%m-%d", time.gmtime(value))


def _render_figures(drift: Drift) -> str:
    return render_figures(
        render_figure(plots.plot_then_now(c.name, c.bars), f"PSI {format_number(c.psi)}{', drifts' if c.alarm else ''}")
        for c in drift.columns[:SHOWN]
        if c.bars
    )


def _explain_method(drift: Drift) -> str:
    return (
        f"{drift.rows[1]:,} rows against the {drift.rows[0]:,} that the model was trained on. A column drifts if the "
        f"difference is more than chance (chi-square, Holm's correction over all columns, level {drift.level:g}) and "
        f"its population stability index, less what chance gives, is at least {drift.psi:g}. Dates, and what the "
        "table is ordered by, move on by themselves: they are shown and raise no alarm. Predictions are compared with "
        "those on rows that the model was not trained on; a score, where labels are known, with the published one."
    )


def make_table_rows(drift: Drift, limit: int = 100) -> list[dict[str, Any]]:
    """The columns as rows of a table, worst first."""
    return [
        {
            "column": c.name, "drifts": "yes" if c.alarm else "moves" if c.moves else "", "psi": format_number(c.psi),
            "distance": format_number(c.distance), "p": format_p_value(c.p), "missing then": f"{c.missing[0]:.1%}",
            "missing now": f"{c.missing[1]:.1%}", "mean then": _choose_mean_format(c)(c.mean[0]),
            "mean now": _choose_mean_format(c)(c.mean[1]),
            "new levels": "-" if c.new_levels is None else f"{c.new_levels:.1%}",
        }
        for c in drift.columns[:limit]
    ]  # fmt: skip


def to_markdown(name: str, version: int, data: str, drift: Drift) -> str:
    """The finding for Prefect's page."""
    alarms = "".join(
        f"| {escape_markdown(c.name)} | {format_number(c.psi)} | {format_p_value(c.p)} |\n" for c in drift.alarms[:20]
    )  # fmt: skip
    parts = [
        f"**{escape_markdown(drift.sentence)}**",
        f"`{name}` version {version}, trained on {drift.rows[0]:,} rows; {drift.rows[1]:,} rows of "
        f"{escape_markdown(data)}.",
        f"| drifts | PSI | p |\n| --- | ---: | ---: |\n{alarms}" if alarms else "",
        *map(escape_markdown, drift.notes),
    ]
    return "\n\n".join(part for part in parts if part)
