"""The tables of rows, for docs/results.md: `python -m benchmarks.peers.report rows.jsonl [--part report]
[--write docs/results.md]`.

Without `--write` they are printed; with it they take the place of the page's section, or are added as its last one.
Rows of tables for tuning stay out unless they are asked for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pages import to_markdown_table
from benchmarks.peers import comparison
from benchmarks.peers.catalogue import PARTS
from benchmarks.peers.comparison import FOREST
from benchmarks.peers.judging import LARGER_IS_BETTER
from benchmarks.peers.rows import NO_RUN, Row, read_rows
from benchmarks.peers.systems import load_systems

TITLE = "## Beside the peers"
OURS = "nestor"


def main() -> None:
    """Prints or writes the section."""
    asked = _parse_arguments()
    text = make_section([row for row in read_rows(asked.rows) if asked.part in ("all", row["part"])])
    if asked.write is None:
        return print(text)
    asked.write.write_text(replace_section(asked.write.read_text("utf-8"), text), "utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--part", choices=("all", *PARTS), default="report")
    parser.add_argument("--write", type=Path, help="the page to write into")
    return parser.parse_args()


def replace_section(page: str, section: str) -> str:
    """The page with this section in place of the old one, or after all others."""
    found = re.search(rf"^{re.escape(TITLE)}\n.*?(?=^## |\Z)", page, re.M | re.S)
    if found is None:
        return f"{page.rstrip()}\n\n{section.strip()}\n"
    rest = page[found.end() :]
    return page[: found.start()] + section.strip() + "\n" + (f"\n{rest}" if rest else "")


def make_section(rows: Sequence[Row]) -> str:
    """Everything that there is to tell of rows, budget by budget."""
    parts = [TITLE, EXPLAINED]
    for budget in sorted({row["budget"] for row in rows}):
        parts += _make_budget_part(budget, select_latest([row for row in rows if row["budget"] == budget]))
    return "\n\n".join(parts)


EXPLAINED = """`python -m benchmarks.peers CATALOGUE` and `python -m benchmarks.peers.report ROWS`: how systems are
installed, asked and judged is told in [benchmarks](../benchmarks/README.md#peers). Means are over tables, intervals of
95 % come from drawing tables anew. *Rank*: among the systems with a budget. *Scaled*: 0 is the default forest, 1 the
best of each run. *Flatters*: by which share of the test error the reported one is smaller. *Over*: seconds until the
model was there, per second of budget. *Busy*: core-seconds used until then, of those that the budget holds."""


def select_latest(rows: Sequence[Row]) -> list[Row]:
    """Of each system, table and seed the last row, among those of the split and machine that came last there."""
    newest = {(row["table"], row["seed"]): (row["split"], row["machine"], row["cores"]) for row in rows}
    found = {
        (row["system"], row["table"], row["seed"]): row
        for row in rows
        if newest[row["table"], row["seed"]] == (row["split"], row["machine"], row["cores"])
    }
    return list(found.values())


def _make_budget_part(budget: float, rows: Sequence[Row]) -> Iterator[str]:
    gains = comparison.arrange_gains(rows)
    yield f"### {budget:g} s"
    yield _describe_rows(rows, gains)
    yield _make_quality_table(rows, gains)
    yield _make_cost_table(rows)
    yield _make_score_table(rows)
    yield from _tell_agreement(rows)


def _describe_rows(rows: Sequence[Row], gains: pd.DataFrame) -> str:
    """What stands beside every number: commit, date, machine, and which runs."""
    commits = _join(row["commit"] for row in rows if row["system"] == OURS) or "unknown"
    days, load = _join(row["date"][:10] for row in rows), max(row["load"] for row in rows)
    tables, seeds = {table for table, _ in gains.index}, {seed for _, seed in gains.index}
    missing = len({(row["table"], row["seed"]) for row in rows}) - len(gains)
    left_out = f"; {missing} that some system has not had are left out where systems are compared" if missing else ""
    return (
        f"commit {commits}, {days}, {_join(r['machine'] for r in rows)}, {rows[0]['cores']} cores for "
        f"each system; load average before a run at most {load:.1f}. Runs: {len(gains)} ({len(tables)} tables, "
        f"{len(seeds)} seeds){left_out}. Parts of the catalogue: {_join(row['part'] for row in rows)}."
    )


def _join(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _list_systems(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """(name, title, rows) of the systems of the rows, in the usual order."""
    for name, system in load_systems().items():
        if own := [row for row in rows if row["system"] == name]:
            yield name, system.title, own


def _make_quality_table(rows: Sequence[Row], gains: pd.DataFrame) -> str:
    ranked = gains[[name for name in gains if not load_systems()[name].is_reference]]
    places = comparison.rank_systems(ranked)
    scaled = comparison.scale_gains(gains) if FOREST in gains else gains.iloc[:0, :0]
    ours = load_systems()[OURS].title
    head = (
        "system", "version", "rank", "first, last", "beats the others", f"{ours} beats it", "scaled", "flatters",
        "too good in", "failures",
    )  # fmt: skip
    body = []
    for name, title, own in _list_systems(rows):
        against = {name, OURS} <= set(gains) and name != OURS
        cells = (
            places.get(name),
            comparison.compare_with_all(ranked, name) if name in ranked else None,
            comparison.compare_pair(gains, OURS, name) if against else None,
            scaled.get(name),
        )
        flattered = pd.Series([comparison.flatter(row) for row in own], _index(own), dtype=float)
        too_good = f"{(flattered.dropna() > 0).mean():.0%}" if flattered.notna().any() else ""
        rank, *means = [_format_mean(values) for values in (*cells, flattered)]
        version = _join(row["version"] for row in own)
        body.append((title, version, rank, _count_ends(places, name), *means, too_good, _count_failures(own)))
    return to_markdown_table(head, body)


def _count_ends(places: pd.DataFrame, name: str) -> str:
    """In how many runs it was first, or shared that place, and in how many last."""
    if name not in places:
        return ""
    own = places[name]
    return f"{(own == places.min(axis=1)).sum()}, {(own == places.max(axis=1)).sum()}"


def _index(rows: Sequence[Row]) -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples([(row["table"], row["seed"]) for row in rows], names=["table", "seed"])


def _count_failures(rows: Sequence[Row]) -> str:
    if absent := [row for row in rows if row["state"] == NO_RUN]:
        return f"not installed: {absent[0]['why'][:80]}"
    states = [row["state"] for row in rows if row["state"] != "done"]
    said = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return f"{said} of {len(rows)}" if said else f"0 of {len(rows)}"


def _make_cost_table(rows: Sequence[Row]) -> str:
    head = ("system", "over, median", "over, largest", "predictions written, median s", "busy", "in fits",
            "memory, median MB", "memory, largest MB", "rows/s", "one row, ms", "size, MB")  # fmt: skip
    return to_markdown_table(head, [(title, *_make_cost_cells(own)) for _, title, own in _list_systems(rows)])


def _make_cost_cells(rows: Sequence[Row]) -> tuple[str, ...]:
    told = pd.DataFrame(rows).reindex(columns=list(COSTS)).astype(float)
    whole = told["budget"] * told["cores"]
    over, memory = told["seconds_model"] / told["budget"], told["peak_mb"]
    return (
        _format(over.median(), "{:.2f}"), _format(over.max(), "{:.2f}"),
        _format(told["seconds_predictions"].median(), "{:.0f}"),
        _format((told["core_seconds"] / whole).mean(), "{:.0%}"),
        _format((told["fitting_seconds"] / whole).mean(), "{:.0%}"),
        _format(memory.median(), "{:,.0f}"), _format(memory.max(), "{:,.0f}"),
        _format(told["rows_per_second"].median(), "{:,.0f}"), _format(told["latency_ms"].median(), "{:.1f}"),
        _format(told["size_mb"].median(), "{:.1f}"),
    )  # fmt: skip


COSTS = ("budget", "cores", "seconds_model", "seconds_predictions", "core_seconds", "fitting_seconds", "peak_mb",
         "rows_per_second", "latency_ms", "size_mb")  # fmt: skip


def _make_score_table(rows: Sequence[Row]) -> str:
    """The mean test score of every system on every table, over the seeds that it has; the best is bold."""
    systems = [(name, title) for name, title, _ in _list_systems(rows)]
    body = []
    for table in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == table]
        train, test = own[0]["rows"]
        shape = f"{train:,} + {test:,} x {own[0]['columns']}"
        metric = own[0]["metric"]
        scores = [[r["score"] for r in own if r["system"] == name and r["state"] == "done"] for name, _ in systems]
        means = [float(np.mean(found)) if found else float("nan") for found in scores]
        best = (np.nanmax if LARGER_IS_BETTER[metric] else np.nanmin)(means) if any(scores) else None
        cells = [_format(mean, "**{:.5g}**" if mean == best else "{:.5g}") for mean in means]
        body.append((table, own[0]["part"], shape, metric, *cells))
    return to_markdown_table(
        ("table", "part", "rows (train + test) x columns", "metric", *(t for _, t in systems)), body
    )


def _tell_agreement(rows: Sequence[Row]) -> Iterator[str]:
    found = [row["agreement"] for row in rows if row.get("agreement") is not None]
    if len(found) > 1:
        yield (
            f"{load_systems()[OURS].title}'s agreement z (its estimate against its own sealed rows): mean "
            f"{np.mean(found):.2f}, standard deviation {np.std(found, ddof=1):.2f}, over {len(found)} runs."
        )


def _format_mean(values: pd.Series | None) -> str:
    if values is None or not np.isfinite((mean := comparison.average_tables(values)).value):
        return ""
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def _format(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else ""


if __name__ == "__main__":
    main()
