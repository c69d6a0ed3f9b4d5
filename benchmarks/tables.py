"""`nestor train` over many tables: `python -m benchmarks.tables PLACE --budget 120s [--only a,b] [--seeds 1]`.

PLACE is a folder of csv and parquet files, whose last columns are the targets, or a csv file with a row for each table:
`path` (from that file's folder) and `target`, and where wanted `group_col`, `time_col`, `options`."""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import CommandResult, compute_patience, run_nestor, stop_server
from benchmarks.reference import score_references
from benchmarks.stamp import print_table

HEAD = (
    "table", "seed", "exit", "wall, s", "how", "metric", "estimate", "test", "constant", "default LightGBM", "optimism",
    "agreement", "winner", "delivered", "trials", "trials by fold", "not tried",
)  # fmt: skip


def main() -> None:
    """Prints one table; each row is also told on standard error as soon as it is there."""
    asked = _parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for file, target, options in list_tables(
            Path(asked.place).resolve(), asked.only.split(",") if asked.only else []
        ):
            for seed in range(asked.seeds):
                rows.append(_train_table(file, target, options, seed, asked.budget, Path(folder)))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    print_table(f"Tables of {Path(asked.place).name}, --budget {asked.budget}", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="a folder, or a csv file that lists tables")
    parser.add_argument("--budget", default="120s")
    parser.add_argument("--only", default="", help="names of files, without ending")
    parser.add_argument("--seeds", type=int, default=1)
    return parser.parse_args()


def list_tables(place: Path, only: list[str]) -> Iterator[tuple[Path, str, list[str]]]:
    """(file, target, options) of each table of the folder or list, or of those of these names."""
    found = _list_catalog(place) if place.is_file() else _list_folder(place)
    return (row for row in found if not only or row[0].stem in only)


def _list_catalog(catalog: Path) -> Iterator[tuple[Path, str, list[str]]]:
    with catalog.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            options = shlex.split(row.get("options") or "")
            for role in ("group", "time"):
                options += [f"--{role}", row[f"{role}_col"]] if row.get(f"{role}_col") else []
            yield catalog.parent / row["path"], row["target"], options


def _list_folder(folder: Path) -> Iterator[tuple[Path, str, list[str]]]:
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".csv", ".parquet")):
        yield path, _read_last_column(path), []


def _read_last_column(path: Path) -> str:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_schema(path).names[-1]
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))[-1]


def _train_table(file: Path, target: str, options: list[str], seed: int, budget: str, folder: Path) -> tuple[str, ...]:
    name = f"{file.stem}-{seed}"
    arguments = ["train", str(file.resolve()), "--target", target, "--budget", budget, "--seed", str(seed), *options]
    done = run_nestor(*arguments, "--name", name, "--json", "--quiet", folder=folder, timeout=compute_patience(budget))
    return (file.stem, str(seed), str(done.code), f"{done.wall:.1f}", *_make_cells(done, folder))


def _make_cells(done: CommandResult, folder: Path) -> tuple[str, ...]:
    report = done.report
    if report is None:
        return (done.err.strip().replace("\n", " ")[-200:], *[""] * (len(HEAD) - 5))
    how, folds = report["how"], [f["trials_by_fold"] for f in report["families"]]
    shares = sorted(((f["weight"], f["name"]) for f in report["families"] if f["weight"] > 0.005), reverse=True)
    return (
        f"{how['method']} {how['outer']}x{how['inner']}",
        report["metric"],
        format_interval(report["estimate"]),
        format_interval(report["test"]),
        *map(_format_number, score_references(report, folder)),
        _format_number(report["optimism"]),
        _format_number(report["agreement"]),
        report["winner"],
        ", ".join(f"{name} {share:.2f}" for share, name in shares),
        str(sum(report["trials"].values())),
        "; ".join(f"{f['name']} {min(n)} to {max(n)}" for f, n in zip(report["families"], folds, strict=True) if n),
        "; ".join(f"{name}: {why}" for name, why in report["left_out"].items()),
    )


def format_interval(value: Mapping[str, Any] | None) -> str:
    """`0.9213 [0.9155, 0.927]`; empty where there is none."""
    if value is None:
        return ""
    ends = [_format_number(value[end]) for end in ("low", "high")]
    return _format_number(value["value"]) + (f" [{ends[0]}, {ends[1]}]" if all(ends) else "")


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    main()
