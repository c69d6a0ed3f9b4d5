"""Versions as runs make them, real intake, real registry, without a search and without processes."""

from __future__ import annotations

import importlib
import json
import pickle
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models.config import Run
from models.data.table import Table
from models.evaluation.estimate import compute_standard_error
from models.monitoring.table_profile import Performance, TableProfile, profile_table, to_prediction_columns
from models.splitting.seal import Seal
from tasks.context import RunContext
from tasks.evaluation.package import build_model
from tasks.planning import load_and_seal
from tasks.registry.register import register
from tasks.reporting.publish import make_example, make_version_facts, write_row_keys
from tasks.run.folder import Workdir
from tasks.run.journal import Journal
from tasks.run.ledger import Ledger
from tasks.tracking.__main__ import CALLS
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.seal_book import SealBook
from tasks.values import SealedTable


def make_digits(rows: slice = slice(None), classes: int = 2) -> pd.DataFrame:
    """The digits of scikit-learn by 16 of their pixels: whether they are above 4, or three kinds of them."""
    whole = load_digits(as_frame=True).frame.iloc[rows]
    pixels = [c for i, c in enumerate(whole.columns[:64]) if i % 8 in (2, 3, 4, 5)][::2]
    named = {2: np.where(whole["target"] > 4, "high", "low"), 3: np.array(["a", "b", "c"])[whole["target"] % 3]}
    return whole[pixels].assign(target=named[classes]).reset_index(drop=True)


class DirectJournal(Journal):
    """A journal whose calls are answered in this process, by what the tracker would call."""

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        module, _, function = CALLS[name].partition(":")
        return getattr(importlib.import_module(module), function)(MlflowMirror(self.workdir), **args)


class NoPool:
    """For runs that fit nothing in workers."""

    def close(self) -> None:
        """Nothing is open."""


class InlineContext(RunContext):
    """A context that starts no worker."""

    def start_pool(self) -> None:
        self._pool = NoPool()  # type: ignore[assignment]


class Waiting(SealBook):
    """Keeps the seal in MLflow before it goes on."""

    def write(self, settings: Mapping[str, Any]) -> None:
        settings = {"drawn": None, **settings}
        self.folder.write_json("seal.json", settings)
        self.journal.call("keep_seal_settings", settings=settings, name=self.name)

    @cached_property
    def earlier(self) -> dict[str, Any] | None:
        return self.journal.call("seal_settings", name=self.name)


def make_good_model(work: Table) -> Any:
    """A sound model of whatever columns there are."""
    numbers = [c for c, kind in work.kinds.items() if kind in ("number", "boolean")]
    words = [c for c, kind in work.kinds.items() if kind in ("category", "text")]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    model = Ridge() if work.task == "regression" else LogisticRegression(max_iter=300, C=0.05)
    return make_pipeline(make_column_transformer((StandardScaler(), numbers), (encoder, words)), model)


def make_poor_model(work: Table) -> Any:
    """A model that has learned nothing but the middle."""
    columns = make_column_transformer(("drop", list(work.features)))
    return make_pipeline(columns, DummyRegressor() if work.task == "regression" else DummyClassifier())


def make_profile(whole: SealedTable, fitted: Any) -> TableProfile:
    """The profile that a run would keep."""
    work, sealed, metric = whole.work_rows, whole.sealed_rows, whole.metric
    table = whole.table.take(whole.division.work_places)
    if sealed is None:
        return profile_table(table.features, table.kinds)
    said = (fitted.predict_proba if work.classes else fitted.predict)(sealed.features)
    rows = (sealed.target, said, sealed.weight)
    error = compute_standard_error(metric, [rows], [whole.sealed_keys], 0)
    score = Performance(metric.name, metric.score(*rows), error, sealed.rows, "test")
    return profile_table(table.features, table.kinds, to_prediction_columns(said, work.classes), "sealed", score)


class Registry:
    """A store in a folder, and the runs that filled it."""

    def __init__(self, folder: Path):
        self.folder, self.address, self.count = folder, f"sqlite:///{folder}/m.db", 0

    def train(
        self, name: str, data: pd.DataFrame, make: Callable[[Table], Any] = make_good_model, target: str = "target",
        unsafe: tuple[str, ...] = (), **run: Any,
    ) -> tuple[int, Path]:  # fmt: skip
        """Version and folder of a run over the table; the model is `make(work)` fitted on the work rows. `unsafe` names
        the families for which it is pickled."""
        sealed = self.begun(name, Run(data=data, target=target, name=name, **run))
        work, folder = sealed.work_rows, sealed.context.folder.path
        fitted = make(work).fit(work.features, work.target)
        model = build_model(work, [("one", fitted, 1.0)])
        (folder / "model.pkl").write_bytes(pickle.dumps(model))
        skops.io.dump(model, folder / "types.skops")
        make_example(sealed).to_parquet(folder / "example.parquet")
        write_row_keys(sealed, folder / "row_keys.npz")
        (folder / "profile.json").write_text(json.dumps(make_profile(sealed, fitted).as_json()))
        sealed.context.record("run", "pipeline", status="FINISHED")
        found = register(
            MlflowMirror(folder), name=name, model=str(folder / "model.pkl"),
            example=str(folder / "example.parquet"),
            kinds=work.kinds, task=work.task, classes=work.classes, reading=vars(sealed.table.reading),
            trusted=skops.io.get_untrusted_types(file=folder / "types.skops"), beats_constant=True,
            extra=make_version_facts(sealed), unsafe=unsafe,
            beside=[str(folder / "row_keys.npz"), str(folder / "profile.json")],
        )  # fmt: skip
        sealed.context.write_state("done")
        sealed.context.close()
        return found["version"], folder

    def begun_seal(self, name: str, data: pd.DataFrame, **run: Any) -> Seal:
        """The seal of a run that ends there."""
        sealed = self.begun(name, Run(data=data, target="target", name=name, **run))
        sealed.context.close()
        assert sealed.division.seal is not None
        return sealed.division.seal

    def begun(self, name: str, run: Run) -> SealedTable:
        """A table whose rows are read and sealed."""
        self.count += 1
        folder = self.folder / f"run{self.count}"
        folder.mkdir()
        journal = DirectJournal(folder, name, self.address, start=False)
        context = InlineContext(run, name, Workdir(folder), Ledger(run.seconds, 0.0), journal)
        context.seals = Waiting(name, context.folder, journal)
        context.write_state()
        return load_and_seal.seal_rows(load_and_seal.load_table(context))
