"""What intervals and sets of 80, 90 and 95 % cover of sealed rows:
`python -m benchmarks.coverage PLACE --budget 60s|--trials 4 [--only a,b] [--salts 3] [--families linear,lightgbm]`.

PLACE is as in `benchmarks.tables`. Each salt seals other rows, so each run measures on rows of its own; a table sealed
by time has one newest window, whatever the salt, and is run once."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.command import compute_patience, run_nestor, stop_server
from benchmarks.stamp import print_table
from benchmarks.tables import list_tables
from models.outcome import format_number
from tasks.registry.conformal_file import FILE
from tasks.run.folder import Workdir

HEAD = ("table", "made by", "runs", "sealed rows", "80 %", "90 %", "95 %", "mean size at 90 %")


def main() -> None:
    """Prints one table, a row for each of the tables; coverage is the mean over runs, ± their standard deviation."""
    asked = _parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for file, target, options in list_tables(
            Path(asked.place).resolve(), asked.only.split(",") if asked.only else []
        ):
            reports = list(_collect_reports(file, target, options, asked, Path(folder)))
            rows.append(_make_row(file.stem, reports, Path(folder)))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    search = f"--trials {asked.trials}" if asked.trials else f"--budget {asked.budget}"
    named = f"--families {asked.families} " if asked.families else ""
    print_table(f"Coverage on sealed rows, {named}{search}", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="a folder, or a csv file that lists tables")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--trials", type=int, help="configurations for each family and fold, instead of a budget")
    parser.add_argument("--only", default="", help="names of files, without ending")
    parser.add_argument("--salts", type=int, default=3)
    parser.add_argument("--families", default="")
    return parser.parse_args()


def _collect_reports(
    file: Path, target: str, options: list[str], asked: argparse.Namespace, folder: Path
) -> Iterator[dict[str, Any]]:
    """The report of each run that came to one; what else happened is told on standard error."""
    chosen = ["--trials", str(asked.trials)] if asked.trials else ["--budget", asked.budget]
    chosen += ["--families", asked.families] if asked.families else []
    limit = 3600 if asked.trials else compute_patience(asked.budget)
    for salt in range(1 if "--time" in options else asked.salts):
        arguments = ["train", str(file), "--target", target, "--seed", str(salt), *options]
        salted = [] if "--time" in options else ["--salt", str(salt)]
        named = ["--name", f"{file.stem}-{salt}", "--json", "--quiet"]
        done = run_nestor(*arguments, *chosen, *salted, *named, folder=folder, timeout=limit)
        if done.report is not None and done.report["coverage"]:
            yield done.report
        else:
            print(f"{file.stem}, salt {salt}: no coverage. {done.err[-300:]}", file=sys.stderr, flush=True)


def _make_row(name: str, reports: Sequence[Mapping[str, Any]], folder: Path) -> tuple[str, ...]:
    if not reports:
        return (name, *[""] * (len(HEAD) - 1))
    found = [{one["level"]: one for one in report["coverage"]} for report in reports]
    covered = (_format_spread([one[level]["covered"] for one in found if level in one]) for level in (0.8, 0.9, 0.95))
    size = format_number(fmean(one[0.9]["size"] for one in found if 0.9 in one), 3)
    unit = "labels" if reports[0]["task"] != "regression" else "wide"
    sealed, method = zip(*(_read_seal_facts(one, folder) for one in reports), strict=True)
    return name, method[0], str(len(reports)), f"{fmean(sealed):,.0f}", *covered, f"{size} {unit}"


def _format_spread(shares: Sequence[float]) -> str:
    """`90.2 ± 0.8`, in percent."""
    if not shares:
        return ""
    deviation = f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * fmean(shares):.1f}{deviation}"


def _read_seal_facts(report: Mapping[str, Any], folder: Path) -> tuple[int, str]:
    """How many rows were sealed, and how intervals are made."""
    workdir = Workdir(folder / report["workdir"])
    sealed, scores = workdir.read_array("sealed_target"), workdir.read_json(f"delivered/{FILE}")
    return 0 if sealed is None else len(sealed), scores["method"]


if __name__ == "__main__":
    main()
