"""Whether the numbers of `nestor train` are the same as before: `python -m benchmarks.numbers PLACE [--only a,b]`.

PLACE is what `benchmarks.tables` takes. Each table is trained on with `--trials 5 --seed 3`; printed are a few numbers
and the digest of the whole JSON but for times, ids and places. `--out FOLDER` keeps what was digested, so that two
commits can be compared by `diff -r`."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table
from benchmarks.tables import format_interval, list_tables

HEAD = ("table", "exit", "estimate", "test", "trials", "digest")
CLOCKS = re.compile(
    "second|latency|megabytes|memory|budget|^(run|id|flow_run|began|ended|version|uri|url|commit|software|machine)"
)
"""Fields that hold times, ids and places; and what is measured by a clock."""
SAID = re.compile(r"\d[\d.,]* (s|min|h|ms|MB|GB)\b|\b[0-9a-f]{12,32}\b|/\S+")
"""The same in sentences."""


def main() -> None:
    """Prints one table; a row is told on standard error as soon as it is there."""
    asked = _parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for file, target, options in list_tables(
            Path(asked.place).resolve(), asked.only.split(",") if asked.only else []
        ):
            rows.append(_train_table(file, target, options, Path(folder), asked.out))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        stop_server(Path(folder))
    print_table("Numbers with --trials 5 --seed 3", HEAD, rows)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="a folder, or a csv file that lists tables")
    parser.add_argument("--only", default="", help="names of files, without ending")
    parser.add_argument("--out", type=Path, help="a folder for what was digested")
    return parser.parse_args()


def _train_table(file: Path, target: str, options: list[str], folder: Path, out: Path | None) -> tuple[str, ...]:
    words = ["train", str(file.resolve()), "--target", target, "--trials", "5", "--seed", "3", *options]
    done = run_nestor(*words, "--name", file.stem, "--json", "--quiet", folder=folder, timeout=3600)
    if done.report is None:
        return (file.stem, str(done.code), done.err.strip().replace("\n", " ")[-200:], "", "", "")
    text = json.dumps(drop_volatile(done.report), indent=1, sort_keys=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{file.stem}.json").write_text(text, "utf-8")
    found = done.report
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    trials = str(sum(found["trials"].values()))
    return (
        file.stem,
        str(done.code),
        format_interval(found["estimate"]),
        format_interval(found["test"]),
        trials,
        digest,
    )


def drop_volatile(value: Any) -> Any:
    """The value without what differs between two runs of the same commit."""
    if isinstance(value, Mapping):
        return {name: drop_volatile(part) for name, part in value.items() if not CLOCKS.search(name)}
    if isinstance(value, list):
        return [drop_volatile(part) for part in value]
    return SAID.sub("...", value) if isinstance(value, str) else value


if __name__ == "__main__":
    main()
