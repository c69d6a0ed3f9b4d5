"""What the preparation of columns gains: `python -m benchmarks.columns PLACE [--only a,b] [--rows 4000]`.

PLACE as `benchmarks.tables` takes it. Each step that a table has columns for is left out once: clipped outliers, cycles
of dates, words of long texts. Families with their defaults are fitted on the same rows and
scored on as many others, three times."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from sklearn.pipeline import make_pipeline

from benchmarks.stamp import print_table
from benchmarks.tables import list_tables
from models.columns import dates, numeric, prepare, texts, transform
from models.columns.given import make_imputers, make_scalers
from models.config import Run
from models.data.table import Table
from models.families import load_families
from models.fitting.family import Family, Shape, TrainingData
from models.fitting.fit import fit_family, suggest_configuration
from models.metrics.metric import make_metric
from tasks.data import read_table

FAMILIES = ("linear", "knn", "mlp", "lightgbm")
DRAWS = 3
HEAD = ("step", "table", "metric", "family", "without", "with")


def _make_unclipped_scaler(needs: Any) -> Any:
    if needs.missing and not needs.scaled:
        return "passthrough"
    return make_pipeline(*make_imputers(needs, indicator=True), *make_scalers(needs))


def _make_uncycled_encoder(column: Any, needs: Any, real: Any = dates._make_date_encoder) -> Any:
    return real(column, replace(needs, scaled=False))


STEPS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "outliers clipped": ("number", lambda: patch.object(numeric, "_make_number_scaler", _make_unclipped_scaler)),
    "cycles of dates": ("date", lambda: patch.object(dates, "_make_date_encoder", _make_uncycled_encoder)),
    "words, not characters": ("text", lambda: patch.object(texts, "_shares_words", lambda *_: False)),
}
"""Step -> the kind of column that it is for, and what undoes it."""


def main() -> None:
    """Prints one table; each row is also told on standard error as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", help="a folder, or a csv file that lists tables")
    parser.add_argument("--only", default="", help="names of files, without ending")
    parser.add_argument("--rows", type=int, default=4000)
    asked = parser.parse_args()
    rows = []
    for file, target, _ in list_tables(Path(asked.place).resolve(), asked.only.split(",") if asked.only else []):
        for row in _compare_steps(read_table(Run(data=str(file), target=target)), file.stem, asked.rows):
            print(" | ".join(row), file=sys.stderr, flush=True)
            rows.append(row)
    print_table("Steps of preparation, with and without", HEAD, rows)


def _compare_steps(table: Table, name: str, rows: int) -> Iterator[tuple[str, ...]]:
    known = [f for n, f in load_families().items() if n in FAMILIES]
    usual = {f.name: _score_family(table, f, rows) for f in known}
    for step, (kind, undone) in STEPS.items():
        for one in known if kind in table.kinds.values() else ():
            # Trees get numbers and dates as they are, with the step and without.
            if one.needs.scaled or kind == "text":
                with undone():
                    without = _score_family(table, one, rows)
                metric = make_metric(None, table.task, table.classes).name
                yield step, name, metric, one.name, f"{without:.4g}", f"{usual[one.name]:.4g}"


def _score_family(table: Table, one: Family, rows: int) -> float:
    """The family's mean score over the draws."""
    half = min(rows, table.rows // 2)
    found = []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(table.rows)
        found.append(_fit_and_score(table.take(order[:half]), table.take(order[half : 2 * half]), one))
    return float(np.mean(found))


def _fit_and_score(train: Table, judge: Table, one: Family) -> float:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = prepare(train.features, train.kinds, train.target, train.task, one.needs, 0, train.orders)
        shape = Shape(train.rows, made.X.shape[1], train.task, len(train.classes))
        config = suggest_configuration(one, optuna.trial.FixedTrial(dict(one.default)), shape)
        config |= {"rounds": 100} if one.stops_early else {}
        part = TrainingData(made.X, train.target, None, shape, made.categories)
        model = fit_family(one, config, part, 0, 1).model
        X = transform(made.transformer, judge.features)
        said = model.predict(X) if train.task == "regression" else model.predict_proba(X)
    return make_metric(None, train.task, train.classes).score(judge.target, np.asarray(said, float), None)


if __name__ == "__main__":
    main()
