"""`nestor train` on a table of users, items and ratings against means of users and items:
`python -m benchmarks.recommendation TABLE --user userId --item movieId --rating rating --time timestamp --budget 120s`.

A fifth of the rows is the test table, drawn at random, by user (cold start: none of its users has been seen) or the
latest by time; means and Nestor are fitted on the other rows and scored on these, once. The damped means are those of
Koren, Bell & Volinsky 2009; the best damping is the one that suits the test rows best, which flatters it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import compute_patience, run_nestor, stop_server
from benchmarks.stamp import print_table

HEAD = (
    "split", "rows", "test rows", "mean", "user and item means", "damped by 10 and 25 rows", "best damping", "Nestor",
    "95 %", "winner", "delivered",
)  # fmt: skip
DAMPING = (0.0, 2.0, 5.0, 10.0, 25.0, 50.0)


def main() -> None:
    """Prints one table of root mean squared errors; each row is also told on standard error as soon as it is there."""
    asked = _parse_arguments()
    table, rows = pd.read_parquet(asked.table), []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for split, test, options in _make_splits(table, asked):
            if not asked.only or split in asked.only.split(","):
                rows.append((split, *_compare_split(table[~test], table[test], options, split, asked, Path(folder))))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    print_table(f"Recommendations of {Path(asked.table).stem}, --budget {asked.budget}", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="a parquet file")
    for role in ("user", "item", "rating", "time"):
        parser.add_argument(f"--{role}", required=True, help="a column")
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--only", default="", help="random, user or time; with commas between them")
    return parser.parse_args()


def _make_splits(table: pd.DataFrame, asked: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Name, test rows and options."""
    draw = np.random.default_rng(0)
    yield "random", draw.random(len(table)) < 0.2, []
    users = draw.permutation(table[asked.user].unique())
    yield "user", table[asked.user].isin(users[: len(users) // 5]).to_numpy(), ["--group", asked.user]
    late = (table[asked.time] > table[asked.time].quantile(0.8)).to_numpy()
    yield "time", late, ["--time", asked.time]


def _compare_split(
    train: pd.DataFrame, test: pd.DataFrame, options: list[str], split: str, asked: argparse.Namespace, folder: Path
) -> tuple[str, ...]:
    files = {name: folder / f"{split}-{name}.parquet" for name in ("train", "test")}
    train.to_parquet(files["train"])
    test.to_parquet(files["test"])
    means = [_compute_error(test, train, asked, *damping) for damping in product(DAMPING, DAMPING)]
    level = float(np.sqrt(((test[asked.rating] - train[asked.rating].mean()) ** 2).mean()))
    marks = (level, means[0], _compute_error(test, train, asked, 10.0, 25.0), min(means))
    arguments = ["train", str(files["train"]), "--test", str(files["test"]), "--target", asked.rating, *options]
    told = ["--budget", asked.budget, "--name", split, "--metric", "rmse", "--json", "--quiet"]
    done = run_nestor(*arguments, *told, folder=folder, timeout=compute_patience(asked.budget))
    counts = (f"{len(train):,}", f"{len(test):,}")
    if (report := done.report) is None:
        return (*counts, *(f"{m:.4f}" for m in marks), done.err.strip().replace("\n", " ")[-200:], "", "", "")
    said, shares = report["test"], [(f["weight"], f["name"]) for f in report["families"] if f["weight"] > 0.005]
    return (
        *counts,
        *(f"{m:.4f}" for m in (*marks, said["value"])),
        f"{said['low']:.4f} to {said['high']:.4f}",
        report["winner"],
        ", ".join(f"{name} {share:.2f}" for share, name in sorted(shares, reverse=True)),
    )


def _compute_error(
    test: pd.DataFrame, train: pd.DataFrame, asked: argparse.Namespace, user: float, item: float
) -> float:
    """The error of mean, item's and user's offset, each divided by so many rows more than it has."""
    said = pd.Series(float(train[asked.rating].mean()), index=test.index)
    left = train[asked.rating] - train[asked.rating].mean()
    for column, damping in ((asked.item, item), (asked.user, user)):
        sums = left.groupby(train[column]).agg(["sum", "count"])
        offset = sums["sum"] / (sums["count"] + damping)
        left = left - train[column].map(offset)
        said = said + test[column].map(offset).fillna(0.0)
    return float(np.sqrt(((test[asked.rating] - said) ** 2).mean()))


if __name__ == "__main__":
    main()
