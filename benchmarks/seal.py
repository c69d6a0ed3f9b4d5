"""What moves a row between sealed rows and others, and what is said:
`python -m benchmarks.seal [--retrain] [--only A,B]`.

Each change is made to one table, of which a name's first run has sealed a fifth; then the table is read and divided as
a training does it. With `--retrain` `nestor retrain` follows each change too, on a name that was trained before."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.command import run_nestor, stop_server
from benchmarks.stamp import print_table
from models.config import Run
from models.errors import InputError
from models.splitting.division import divide_table
from tasks.data import read_table
from tasks.planning.checks import check_form, make_metric_and_goal
from tasks.run.journal import find_default_address
from tasks.tracking import seal_copy

HEAD = ("change", "rows that moved", "what was said", "a retraining")
ROWS = 600


@dataclass(frozen=True)
class Change:
    """What happens to a table between two runs."""

    frame: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
    form: Mapping[str, Any] = field(default_factory=dict)
    """How the csv file is written."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the run."""
    stop: str = ""
    """A part of the sentence by which it stops; empty where nothing may move, and nothing stops."""


def make_table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Rows of every kind of column, and one that is the same in all."""
    draw = np.random.default_rng(seed)
    number = draw.normal(size=rows).round(3)
    return pd.DataFrame(
        {
            "number": number,
            "whole": draw.integers(0, 900, rows),
            "colour": draw.choice(["Größe", "blue", "red"], rows),
            "post": [f"{n:05}" for n in draw.integers(1000, 99_000, rows)],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.integers(0, 700, rows), unit="D"),
            "paid": draw.choice(["yes", "no"], rows),
            "shop": "Ulm",
            "target": np.where(number + draw.normal(size=rows) > 0, "good", "bad"),
        }
    )


def _add_rows(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The table with new rows beneath."""
    new = make_table(100, 1).set_index(np.arange(100) + 10**6).assign(**values)
    return pd.concat([frame, new])


CHANGES: Mapping[str, Change] = {
    "nothing": Change(),
    "a column added": Change(lambda f: f.assign(more=np.arange(len(f)) % 7)),
    "a constant dropped": Change(lambda f: f.drop(columns="shop")),
    "a column dropped": Change(lambda f: f.drop(columns="colour"), stop="lacks 'colour'"),
    "a column dropped by the settings": Change(settings={"drop": ("colour",)}),
    "a column renamed": Change(lambda f: f.rename(columns={"number": "numbers"}), stop="Did you mean numbers?"),
    "the target renamed": Change(lambda f: f.rename(columns={"target": "grade"}), settings={"target": "grade"}),
    "numbers read as levels": Change(settings={"types": {"whole": "category"}}),
    "a word among numbers": Change(lambda f: _add_rows(f, whole="unknown to us")),
    "whole numbers written 3.0": Change(lambda f: f.assign(whole=f["whole"].map("{:.1f}".format))),
    "zeros lost": Change(lambda f: f.assign(post=f["post"].str.lstrip("0"))),
    "dates read as levels": Change(settings={"types": {"day": "category"}}),
    "dates written otherwise": Change(lambda f: f.assign(day=f["day"].dt.strftime("%d.%m.%Y"))),
    "a third level in a yes or no": Change(lambda f: _add_rows(f, paid="perhaps")),
    "numbers become words": Change(lambda f: f.assign(number=f["number"].map("n{}".format)), stop="read as number"),
    "a column emptied": Change(lambda f: f.assign(colour=None), stop="holds no value"),
    "columns reordered": Change(lambda f: f[[*f.columns[::-1]]]),
    "a constant that varies in new rows": Change(lambda f: _add_rows(f, shop="Bonn")),
    "a constant that varies in all": Change(lambda f: f.assign(shop=np.arange(len(f)) % 5)),
    "another constant": Change(lambda f: f.assign(shop="Bonn")),
    "a column that becomes constant": Change(lambda f: f[f["paid"] == "yes"]),
    "rows added": Change(_add_rows),
    "rows removed": Change(lambda f: f[np.arange(len(f)) % 3 > 0]),
    "rows reordered": Change(lambda f: f.sample(frac=1, random_state=0)),
    "labels corrected": Change(lambda f: f.assign(target=np.where(np.arange(len(f)) % 9, f["target"], "good"))),
    "labels of three classes": Change(lambda f: f.assign(target=np.where(np.arange(len(f)) % 9, f["target"], "new"))),
    "another encoding": Change(form={"encoding": "utf-16"}),
    "another separator": Change(form={"sep": ";", "decimal": ","}),
    "missing written NA": Change(lambda f: _add_rows(f, whole="NA")),
    "ids named later": Change(lambda f: f.assign(no=np.arange(len(f))), settings={"split": {"id": "no"}}),
    "another share": Change(settings={"split": {"sealed": 0.3}}, stop="30 % of the rows"),
    "nothing sealed": Change(settings={"split": {"sealed": 0.0}}, stop="0 % of the rows"),
    "another salt": Change(settings={"split": {"salt": 99}}, stop="by the salt 99"),
    "by groups": Change(settings={"split": {"group": "colour"}}, stop="are to be divided by a group"),
    "by time": Change(settings={"split": {"time": "day"}}, stop="are to be divided by time"),
    "a feature as target": Change(settings={"target": "paid"}, stop="to be the target"),
}  # fmt: skip


def write_csv(frame: pd.DataFrame, form: Mapping[str, Any], name: str = "loans") -> str:
    """The table as a csv file in this folder; its name."""
    frame.to_csv(f"{name}.csv", index=False, **form)
    return f"{name}.csv"


def seal_rows(frame: pd.DataFrame, change: Change) -> tuple[pd.Index, list[str]]:
    """The rows, by the frame's index, that a run over it seals, and what is said of the seal."""
    run = Run.model_validate({"data": write_csv(frame, change.form), "target": "target", **change.settings})
    name, kept = "loans", seal_copy.find_seal_settings("loans")
    found = check_form(read_table(run, kept=lambda: kept), run)
    division = divide_table(found, run, make_metric_and_goal(found, run)[0], kept)
    if division.settings is not None:
        seal_copy.keep_seal_copy(name, find_default_address(), division.settings)
    said = [f.message for f in division.findings if f.check == "seal"]
    return frame.index[found.data_rows[division.sealed_places] - 1], said


def count_moved(first: pd.DataFrame, change: Change) -> tuple[int | None, str]:
    """How many rows of both tables are on another side after the change, and what was said; None where it stops."""
    before, _ = seal_rows(first, Change())
    frame = change.frame(first)
    try:
        after, said = seal_rows(frame, change)
    except InputError as error:
        return None, str(error)
    both = first.index.intersection(frame.index)
    return len(both.intersection(before).symmetric_difference(both.intersection(after))), " ".join(said)


@contextmanager
def enter_own_folder() -> Iterator[Path]:
    """A folder of its own, in which nothing was sealed yet, as the current one."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(here)


def describe_retraining(first: pd.DataFrame, change: Change, name: str) -> str:
    """What a retraining of a model of that name says after the change, in the current folder."""
    quick = ("--target", "target", "--trials", "1", "--families", "linear", "--quiet")
    done = run_nestor("train", write_csv(first, {}, name), *quick, folder=Path.cwd(), timeout=600)
    if done.code:
        return done.err
    write_csv(change.frame(first), change.form, name)
    Path("more.json").write_text(json.dumps({"changes": dict(change.settings)}))
    more = ("--config", "more.json", "--force", "--columns", "adapt", "--json", "--quiet")
    done = run_nestor("retrain", name, *more, folder=Path.cwd(), timeout=600)
    if done.code:
        return done.err.strip()
    result = json.loads(done.out)
    return f"{result['ending']}: {result['report']['sentence']}"


def main() -> None:
    """Prints the table of changes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retrain", action="store_true", help="a retraining after each change")
    parser.add_argument("--only", default="", help="the changes to make, by name, divided by commas")
    asked, rows = parser.parse_args(), []
    with enter_own_folder() as folder:
        for place, (name, change) in enumerate(CHANGES.items()):
            if asked.only and name not in asked.only.split(","):
                continue
            with enter_own_folder():
                count, said = count_moved(make_table(), change)
            ended = describe_retraining(make_table(), change, f"loans{place}") if asked.retrain else ""
            rows.append((name, "stops" if count is None else f"{count:,}", said, ended))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        stop_server(folder)
    print_table("What moves a row", HEAD, rows)


if __name__ == "__main__":
    main()
