"""What a warm start saves over four retrainings: `python -m benchmarks.warm FILE:TARGET ... --trials 20
[--families lightgbm,linear]`.

A table grows from 60 % of its rows to all of them in four steps. Each step is trained twice: cold, and warm from the
run before. In every study (family and fold) it is counted after how many configurations the inner score is within 0.1 %
of the best that either search found there; one that never comes there counts as one more than it tried."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table
from models.metrics.metric import make_metric
from models.studies.warm_start import NEAR

SHARES = (0.6, 0.7, 0.8, 0.9, 1.0)
HEAD = ("table", "family", "retraining", "rows", "cold", "warm", "reached the best: cold", "warm", "test: cold", "warm")


def main() -> None:
    """Prints a row for each family and retraining: configurations needed, cold and warm."""
    asked = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        rows = [row for place in asked.tables for row in _compare_on_table(place, asked, Path(folder))]
        stop_server(Path(folder))
    print_table(f"Warm starts over four retrainings, {asked.trials} configurations", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", metavar="FILE:TARGET")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--families", default="lightgbm,linear")
    return parser.parse_args()


def _compare_on_table(place: str, asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    file, _, target = place.rpartition(":")
    whole = pd.read_parquet(file) if file.endswith(".parquet") else pd.read_csv(file)
    order = np.random.default_rng(0).permutation(len(whole))
    for step, share in enumerate(SHARES):
        rows = order[: round(share * len(whole))]
        grown = folder / f"{Path(file).stem}.parquet"
        whole.iloc[np.sort(rows)].to_parquet(grown)
        cold, warm = (_run_training(grown, target, how, step, asked, folder) for how in ("cold", "warm"))
        if step:
            yield from _compare_studies(Path(file).stem, step, len(rows), cold, warm)


def _run_training(
    file: Path, target: str, how: str, step: int, asked: argparse.Namespace, folder: Path
) -> Mapping[str, Any]:
    name = f"{file.stem}-{how}"
    chosen = ["--trials", str(asked.trials), "--families", asked.families, "--search", "tpe"]
    chosen += ["--warm-from", name] if how == "warm" and step else []
    done = run_nestor(
        "train",
        str(file),
        "--target",
        target,
        "--name",
        name,
        *chosen,
        "--json",
        "--quiet",
        folder=folder,
        timeout=3600,
    )
    if done.report is None:
        raise SystemExit(f"{name}, step {step}: exit {done.code}: {done.err[-500:]}")
    return {**done.report, "workdir": folder / done.report["workdir"]}


def _compare_studies(
    table: str, step: int, rows: int, cold: Mapping[str, Any], warm: Mapping[str, Any]
) -> Iterator[tuple]:
    metric = make_metric(cold["metric"], cold["task"], ())
    gains = {how: _compute_gains(report, metric) for how, report in (("cold", cold), ("warm", warm))}
    for family in sorted({family for family, _ in gains["cold"]}):
        studies = [key for key in gains["cold"] if key[0] == family]
        needed: dict[str, list[int]] = {"cold": [], "warm": []}
        for key in studies:
            best = max(gain.max() for gain in (gains["cold"][key], gains["warm"][key]))
            for how, counts in needed.items():
                near = np.flatnonzero(gains[how][key] >= best - NEAR * abs(best))
                counts.append(int(near[0]) + 1 if len(near) else len(gains[how][key]) + 1)
        reached = {
            how: sum(n <= len(gains[how][k]) for n, k in zip(c, studies, strict=True)) for how, c in needed.items()
        }
        yield (
            table, family, str(step), f"{rows:,}", *(f"{fmean(needed[how]):.1f}" for how in needed),
            *(f"{reached[how]} of {len(studies)}" for how in needed),
            *(f"{report['test']['value']:.4g}" if report["test"] else "" for report in (cold, warm)),
        )  # fmt: skip


def _compute_gains(report: Mapping[str, Any], metric: Any) -> dict[tuple[str, str], np.ndarray]:
    """(family, fold) -> the gain of each configuration in order; -inf where it did not come to its end."""
    trials = pd.read_parquet(report["workdir"] / "artifacts" / "trials.parquet").sort_values("number")
    found = trials.assign(gain=[metric.gain(v) if v == v and v is not None else -np.inf for v in trials["inner"]])
    return {key: part["gain"].to_numpy() for key, part in found.groupby(["family", "fold"]) if len(part) > 1}


if __name__ == "__main__":
    main()
