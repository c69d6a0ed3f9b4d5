"""How well natural repeats are told from copies: `python -m benchmarks.repeats [--seeds 20] [--figure docs/repeats.svg]
[--tables PLACE]`.

Worlds in which new rows repeat too (natural), tables that were put together badly (copies), and both at once. PLACE is
as in `benchmarks.tables`: then what is decided of real tables is printed too, with those of scikit-learn."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets

from benchmarks.stamp import print_table
from benchmarks.tables import list_tables
from models.analysis import plots
from models.config import Run
from models.data.table import Reading, Table
from models.splitting.repeats import decide_unit, make_point_keys, measure_repeat_share
from tasks.data import read_table
from tasks.planning.checks import add_form_findings
from tasks.reporting.page_parts import to_svg, to_svg_file

Made = tuple[pd.DataFrame, np.ndarray]
Draw = np.random.Generator


# --- Worlds ----------------------------------------------------------------------------------------------------------


def states(draw: Draw, rows: int, noise: float) -> Made:
    """Four columns of five values: new rows fall on the same 625 points."""
    x = draw.integers(0, 5, (rows, 4))
    return _add_labels(draw, x, x.sum(axis=1) % 3 == 0, noise)


def rounded(draw: Draw, rows: int, noise: float) -> Made:
    """Two normal columns with one decimal."""
    x = draw.normal(size=(rows, 2)).round(1)
    return _add_labels(draw, x, x.sum(axis=1) > 0, noise)


def lattice(draw: Draw, rows: int, noise: float) -> Made:
    """Ten columns of small whole numbers that hang together, as of scanned letters."""
    hidden = draw.normal(size=(rows, 3)) @ draw.normal(size=(3, 10))
    x = (hidden + draw.normal(scale=0.3, size=hidden.shape)).round()
    return _add_labels(draw, x, hidden[:, 0] > 0, noise)


def atoms(draw: Draw, rows: int, noise: float) -> Made:
    """Continuous columns, and 60 points of many rows each between them (the first ones hold the most)."""
    x = draw.normal(size=(rows, 3)).round(4)
    chosen = draw.choice(60, rows, p=(w := 1 / np.arange(1, 61)) / w.sum())
    x = np.where((draw.random(rows) < 0.45)[:, None], x[chosen], x)
    return _add_labels(draw, x, x[:, 0] > 0, noise)


def continuous(draw: Draw, rows: int, noise: float) -> Made:
    """Five normal columns: nothing repeats."""
    x = draw.normal(size=(rows, 5))
    return _add_labels(draw, x, x[:, 0] + x[:, 1] > 0, noise)


def _add_labels(draw: Draw, x: np.ndarray, yes: np.ndarray, noise: float) -> Made:
    target = np.where(draw.random(len(x)) < noise, draw.integers(0, 2, len(x)), yes)
    return pd.DataFrame(x.astype(float), columns=[f"x{j}" for j in range(x.shape[1])]), target.astype(np.int64)


# --- What tables suffer ----------------------------------------------------------------------------------------------


def copied(draw: Draw, made: Made, share: float) -> Made:
    """Rows picked at random stand there once more; shuffled."""
    rows = len(made[1])
    again = draw.choice(rows, int(share / (2 - share) * rows), replace=False)
    return _take_rows(made, draw.permutation(np.r_[np.arange(rows), again]))


def appended(draw: Draw, made: Made, share: float) -> Made:
    """The first rows of the file stand at its end again."""
    rows = len(made[1])
    return _take_rows(made, np.r_[np.arange(rows), np.arange(int(share / (2 - share) * rows))])


def joined(draw: Draw, made: Made, share: float) -> Made:
    """A join has multiplied some rows, two- to sixfold, side by side."""
    times = np.where(draw.random(len(made[1])) < share / 3, draw.integers(2, 7, len(made[1])), 1)
    return _take_rows(made, np.repeat(np.arange(len(made[1])), times))


def oversampled(draw: Draw, made: Made, share: float) -> Made:
    """Rows of one class were drawn with replacement, and added."""
    mine = np.flatnonzero(made[1] == 1)
    more = draw.choice(mine, int(share / 2 * len(made[1])))
    return _take_rows(made, draw.permutation(np.r_[np.arange(len(made[1])), more]))


def annotated(draw: Draw, made: Made, share: float) -> Made:
    """Some things were labelled by two people, who may differ."""
    features, target = copied(draw, made, share)
    return features, np.where(draw.random(len(target)) < 0.2, 1 - target, target)


def twice(draw: Draw, made: Made, share: float) -> Made:
    """Every row stands there two times, shuffled."""
    return _take_rows(made, draw.permutation(np.repeat(np.arange(len(made[1])), 2)))


def _take_rows(made: Made, rows: np.ndarray) -> Made:
    return made[0].iloc[rows].reset_index(drop=True), made[1][rows]


# --- What is decided -------------------------------------------------------------------------------------------------

NATURAL = (states, rounded, lattice, atoms)
HARM = (copied, appended, joined, oversampled, annotated, twice)
ROWS, NOISES, SHARES = (500, 3000), (0.0, 0.3, 1.0), (0.0, 0.02, 0.05, 0.1, 0.2, 0.43)
_SHOWN = ("chance", "differs", "neighbours", "denser", "often", "even", "beside")


def decide_made(made: Made) -> str:
    """`row` or `point`."""
    return decide_unit(make_table(*made), Run(data="none.csv")).unit


def make_table(features: pd.DataFrame, target: np.ndarray, classes: bool = True) -> Table:
    """Features and target as a table."""
    kinds = {c: "number" if features[c].dtype.kind in "fiub" else "category" for c in features}
    labels = tuple(np.unique(target).tolist()) if classes else ()
    task = "regression" if not classes else "binary" if len(labels) == 2 else "multiclass"
    coded = np.searchsorted(labels, target) if classes else target.astype(float)
    return Table("none", features, coded, task, labels, Reading("none", "frame", kinds=kinds), "none")


def measure_power(seeds: int, asked: str, make: Callable[[Draw], Made]) -> float:
    """How often it was decided as asked."""
    return float(np.mean([decide_made(make(np.random.default_rng(seed))) == asked for seed in range(seeds)]))


def judge_worlds(seeds: int) -> Iterator[list[str]]:
    """Natural repeats, and tables of which nothing repeats that were put together badly."""
    for (right, made), rows in product((("row", NATURAL), ("point", HARM)), ROWS):
        for one in made:
            found = [measure_power(seeds, right, partial(_make_world, one, rows, noise)) for noise in NOISES]
            yield [_describe_world(one), f"{right}s", f"{rows:,}", *(f"{100 * share:.0f} %" for share in found)]


def _make_world(one: Callable[..., Made], rows: int, noise: float, draw: Draw) -> Made:
    return one(draw, rows, noise) if one in NATURAL else one(draw, continuous(draw, rows, noise), 0.2)


def compute_curves(seeds: int) -> dict[str, list[float]]:
    """How often rows were kept together, by the share of them that was copied, over worlds that repeat or do not."""

    def mixed(world: Callable[..., Made], share: float, draw: Draw) -> Made:
        return copied(draw, world(draw, 2000, 0.3), share)

    worlds = (continuous, lattice, rounded, states)
    return {w.__name__: [measure_power(seeds, "point", partial(mixed, w, share)) for share in SHARES] for w in worlds}


def _describe_world(one: Callable[..., Made]) -> str:
    return f"`{one.__name__}`: {' '.join((one.__doc__ or '').split()).rstrip('.')}"


def judge_tables(place: Path | None) -> Iterator[list[str]]:
    """What is decided of real tables, why, and the figures."""
    for name, made in (*_load_shipped(), *(_read_tables(place) if place else ())):
        found, share = decide_unit(made, Run(data="none.csv")), measure_repeat_share(make_point_keys(made))
        yield [name, f"{made.rows:,}", f"{100 * share:.4g} %", found.unit, found.reason, _format_figures(found.figures)]


def _format_figures(figures: Mapping[str, float]) -> str:
    shown = {k: v for k, v in figures.items() if k in _SHOWN and not math.isnan(v)}
    return ", ".join(f"{name} {value:.2g}" for name, value in shown.items())


def _load_shipped() -> Iterator[tuple[str, Table]]:
    """Tables that ship with scikit-learn, as they are, with few columns, and rounded."""
    for name in ("iris", "wine", "breast_cancer", "digits", "diabetes"):
        found = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
        yield name, make_table(found.data, found.target.to_numpy(), name != "diabetes")
    yield "iris, two columns", make_table(*_take_two_columns(sklearn.datasets.load_iris(as_frame=True)))
    yield "wine, two columns, no decimals", make_table(*_take_two_columns(sklearn.datasets.load_wine(as_frame=True), 0))
    yield (
        "breast_cancer, two columns, no decimals",
        make_table(*_take_two_columns(sklearn.datasets.load_breast_cancer(as_frame=True), 0)),
    )


def _take_two_columns(found: Any, decimals: int = 6) -> Made:
    return found.data.iloc[:, :2].round(decimals), found.target.to_numpy()


def _read_tables(place: Path) -> Iterator[tuple[str, Table]]:
    for file, target, _ in list_tables(place, []):
        yield file.stem, add_form_findings(read_table(Run(data=str(file), target=target)))


def main() -> None:
    """Prints the tables, and draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--tables", type=Path)
    asked = parser.parse_args()
    head = ("table", "right is", "rows", *(f"{100 * noise:.0f} % of targets drawn" for noise in NOISES))
    print_table(f"Rows that repeat: natural or copies ({asked.seeds} seeds)", head, judge_worlds(asked.seeds))
    found = compute_curves(asked.seeds)
    rows = ([name, *(f"{100 * share:.0f} %" for share in line)] for name, line in found.items())
    print_table(
        "Kept together, by the share of rows that was copied", ("world", *(f"{100 * s:g} %" for s in SHARES)), rows
    )
    if asked.figure:
        _draw_curves(found, asked.figure)
    print_table("Real tables", ("table", "rows", "repeat", "unit", "why", "figures"), judge_tables(asked.tables))


def _draw_curves(found: Mapping[str, Sequence[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    with plots.apply_style():
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot(xlabel="share of rows that was copied", ylabel="how often a point is the unit")
        for colour, (name, line) in zip(plots.SERIES, found.items(), strict=False):
            axes.plot(SHARES, line, marker="o", markersize=3, color=colour, label=name)
        axes.legend()
        path.write_text(
            to_svg_file(to_svg(figure, "How often rows are kept together, by the share that was copied")), "utf-8"
        )


if __name__ == "__main__":
    main()
