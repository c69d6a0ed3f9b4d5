"""What every system's script shares: files in, files out. It is copied beside the script and runs in its environment.

In: `spec.json`, `train.parquet`, `test.parquet` (without the target). Out: `model-ready` (empty, when the model is
there), `predictions.parquet`, `facts.json`."""

import json
import os
import pickle
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd

BULK = 5_000
"""Rows that are predicted at once to measure rows per second."""
SINGLE = 30
"""Times that one row is predicted, at most: the median counts."""
PATIENCE = 5.0
"""Seconds after which no more single rows are predicted."""


class Fitted:
    """What a script hands over: `predict` takes a frame and returns one column of values, or a column of probabilities
    for each label, named as the label is as text."""

    def __init__(self, predict, name, reported=None, stored=None, extra=None):
        """`stored` is the folder or file that holds the model; `reported` the system's own estimate for it."""
        self.predict, self.name, self.reported, self.stored = predict, name, reported, stored
        self.extra = extra or {}


def run(fit):
    """Fits, predicts the test rows, writes them, and then measures what else there is to know."""
    spec = json.loads(Path("spec.json").read_text())
    fitted = fit(spec, pd.read_parquet("train.parquet"))
    Path("model-ready").touch()
    test = pd.read_parquet("test.parquet")
    _write_predictions(fitted.predict(test))
    facts = {"reported": _to_float(fitted.reported), "delivered": str(fitted.name), **fitted.extra}
    _write_facts(facts)
    _write_facts({**facts, **_measure(fitted, test)})


def _write_predictions(said):
    frame = pd.DataFrame(np.asarray(said, dtype=float), columns=[str(name) for name in said.columns])
    frame.to_parquet("predictions.tmp")
    os.replace("predictions.tmp", "predictions.parquet")


def _write_facts(facts):
    Path("facts.tmp").write_text(json.dumps(facts))
    os.replace("facts.tmp", "facts.json")


def _measure(fitted, test):
    many = test.iloc[np.arange(BULK) % len(test)].reset_index(drop=True)
    began = time.perf_counter()
    fitted.predict(many)
    bulk = time.perf_counter() - began
    size = _measure_size(Path(fitted.stored)) / 1e6 if fitted.stored else None
    return {"rows_per_second": BULK / bulk, "latency_ms": _measure_latency(fitted, test), "size_mb": size}


def _measure_latency(fitted, test):
    begun, seconds = time.perf_counter(), []
    for number in range(SINGLE + 1):
        one = test.iloc[[number % len(test)]]
        before = time.perf_counter()
        fitted.predict(one)
        seconds.append(time.perf_counter() - before)
        if time.perf_counter() - begun > PATIENCE:
            break
    return 1000 * statistics.median(seconds[1:] or seconds)


def _measure_size(place):
    files = [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]
    return sum(p.stat().st_size for p in files)


def _to_float(value):
    return None if value is None or not np.isfinite(value) else float(value)


def store(model):
    """The file that holds the pickled model."""
    with open("model.pickle", "wb") as file:
        pickle.dump(model, file)
    return "model.pickle"


def to_frame(values, labels=None):
    """Values as a column, or probabilities with the labels above them."""
    return pd.DataFrame(np.asarray(values), columns=["value"] if labels is None else [str(label) for label in labels])


def to_objects(frame):
    """The frame with its text as plain objects, for libraries that do not know the text type of pandas 3."""
    text = [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]
    return frame.astype(dict.fromkeys(text, object))


def divide_groups(spec, train):
    """Five folds of whole groups, as row numbers of train and validation; classes in shares as equal as can be."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    folds = GroupKFold(5) if spec["task"] == "regression" else StratifiedGroupKFold(5)
    return list(folds.split(train, train[spec["target"]], train[spec["group"]]))


class Coder:
    """Numbers as they are, dates as seconds, all else as categories of the training rows."""

    def __init__(self, frame):
        """Learns the categories."""
        plain = [n for n in frame if not (_is_number(frame[n]) or _is_date(frame[n]))]
        self.levels = {n: pd.Index(frame[n].dropna().astype(str).unique()) for n in plain}

    def to_categories(self, frame):
        """Numbers and pandas categories, under names that every library takes."""
        columns = {f"c{place}": self._code(frame[name]) for place, name in enumerate(frame)}
        return pd.DataFrame(columns, index=frame.index)

    def to_numbers(self, frame):
        """Numbers alone: a category as its number, missing or new ones as -1."""
        coded = self.to_categories(frame)
        return coded.apply(lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c)

    def _code(self, column):
        if column.name in self.levels:
            codes = self.levels[column.name].get_indexer(column.astype(str).where(column.notna()))
            return pd.Series(pd.Categorical.from_codes(codes, self.levels[column.name]), index=column.index)
        if _is_date(column):
            return (column - pd.Timestamp(0, tz=column.dt.tz)).dt.total_seconds()
        return column.astype(float)


def _is_number(column):
    return pd.api.types.is_numeric_dtype(column)


def _is_date(column):
    return pd.api.types.is_datetime64_any_dtype(column)
