"""Real tables for learning portfolios, none of which Nestor is measured on: `python -m benchmarks.pool FOLDER
[--pycaret PLACE] [--brownlee PLACE]`.

Reads public copies of well-known tables (most from the UCI repository, Kelly, Longjohn & Nottingham) and writes them
into FOLDER as csv files, with a `catalog.csv` that `benchmarks.search.collect` and `benchmarks.tables` take. Columns
that give the target away, or only name a row, are dropped. PLACE may be a folder with the same files."""

from __future__ import annotations

import argparse
import csv
import io
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

PYCARET = "https://raw.githubusercontent.com/pycaret/datasets/main"
BROWNLEE = "https://raw.githubusercontent.com/jbrownlee/Datasets/master"
HEAD = ("name", "path", "target", "task", "metric", "rows", "cols", "n_categorical", "missing_pct", "classes",
        "minority_pct", "time_col", "group_col", "notes")  # fmt: skip
METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
LAST = ""
"""The target is the last column."""

NAMED = (
    ("bank_deposit", "bank", "deposit", "binary", ""),
    ("ctg", "CTG", "NSP", "multiclass", "FileName Date SegFile b e LBE A B C D E AD DE LD FS SUSP CLASS"),
    ("concrete", "concrete", LAST, "regression", ""),
    ("energy", "energy", "Heating Load", "regression", "Cooling_Load"),
    ("heart_statlog", "heart_disease", LAST, "binary", ""),
    ("orange_juice", "juice", "Purchase", "binary", "Id"),
    ("satellite", "satellite", LAST, "multiclass", ""),
    ("automobile", "automobile", "price", "regression", ""),
    ("employee_left", "employee", "left", "binary", ""),
    ("insurance", "insurance", "charges", "regression", ""),
    ("credit_default", "credit", LAST, "binary", ""),
    ("titanic", "titanic", "Survived", "binary", "PassengerId Name Ticket Cabin"),
    ("telescope", "telescope", "Class", "binary", ""),
    ("wine_quality", "wine", "quality", "multiclass", ""),
    ("nba_rookies", "nba", "TARGET_5Yrs", "binary", "Name"),
)
"""Name, file, target, the task that Nestor finds, columns to drop (a blank in a name as an underscore)."""

UNNAMED = (
    ("ionosphere", "ionosphere", "binary"),
    ("sonar", "sonar", "binary"),
    ("pima", "pima-indians-diabetes", "binary"),
    ("glass", "glass", "multiclass"),
)
"""Files without a head, the target last."""

WEKA = ("autoMpg", "pbc", "sensory")
"""Numeric targets from Weka's collection, the target last."""


def main() -> None:
    """Writes the tables and their catalog, and says where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pycaret", default=PYCARET)
    parser.add_argument("--brownlee", default=BROWNLEE)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with (asked.folder / "catalog.csv").open("w", encoding="utf-8", newline="") as file:
        catalog = csv.writer(file)
        catalog.writerow(HEAD)
        for name, frame, target, task in _read_tables(asked.pycaret, asked.brownlee):
            frame.to_csv(asked.folder / f"{name}.csv", index=False)
            catalog.writerow([name, f"{name}.csv", target, task, METRICS[task], *frame.shape, *[""] * 7])
    print(asked.folder / "catalog.csv")


def _read_tables(pycaret: str, brownlee: str) -> Iterator[tuple[str, pd.DataFrame, str, str]]:
    for name, file, target, task, out in NAMED:
        frame = pd.read_csv(
            _open_file(f"{pycaret}/data/common/{file}.csv"), encoding="utf-8-sig", skipinitialspace=True
        )
        frame.columns = [str(c).strip() for c in frame.columns]
        target = target or frame.columns[-1]
        yield name, frame.drop(columns=[c.replace("_", " ") if "_" in c else c for c in out.split()]), target, task
    for name, file, task in UNNAMED:
        frame = pd.read_csv(_open_file(f"{brownlee}/{file}.csv"), header=None)
        frame.columns = [f"c{i}" for i in range(frame.shape[1])]
        yield name, frame, frame.columns[-1], task
    with zipfile.ZipFile(_open_file(f"{brownlee}/weka-datasets-numeric.zip")) as archive:
        for file in WEKA:
            frame = _parse_arff(archive.read(f"numeric/{file}.arff").decode("latin-1"))
            yield file.lower(), frame, frame.columns[-1], "regression"


def _open_file(place: str) -> io.BytesIO:
    if not place.startswith("https://"):
        return io.BytesIO(Path(place).read_bytes())
    with urllib.request.urlopen(place, timeout=60) as answer:
        return io.BytesIO(answer.read())


def _parse_arff(text: str) -> pd.DataFrame:
    from scipy.io import arff

    frame = pd.DataFrame(arff.loadarff(io.StringIO(text))[0])
    words = frame.select_dtypes("object").columns
    return frame.assign(**{c: frame[c].str.decode("utf-8").replace("?", None) for c in words})


if __name__ == "__main__":
    main()
