"""Versions as runs make them, real intake, real registry, without a search and without processes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
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
from tasks.evaluation.package import model
from tasks.planning import load_and_seal
from tasks.registry.register import register
from tasks.reporting.publish import example, known_by, write_row_keys
from tasks.run.folder import Workdir
from tasks.run.journal import Journal
from tasks.run.ledger import Ledger
from tasks.session import Session
from tasks.tracking.__main__ import CALLS
from tasks.tracking.mirror.writer import Mirror


def digits(rows: slice = slice(None), classes: int = 2) -> pd.DataFrame:
    """The digits of scikit-learn by 16 of their pixels: whether they are above 4, or three kinds of them."""
    whole = load_digits(as_frame=True).frame.iloc[rows]
    pixels = [c for i, c in enumerate(whole.columns[:64]) if i % 8 in (2, 3, 4, 5)][::2]
    named = {2: np.where(whole["target"] > 4, "high", "low"), 3: np.array(["a", "b", "c"])[whole["target"] % 3]}
    return whole[pixels].assign(target=named[classes]).reset_index(drop=True)


class Direct(Journal):
    """A journal whose calls are answered in this process, by what the tracker would call."""

    def call(self, name: str, /, *, timeout: float | None = None, **args: Any) -> Any:
        module, _, function = CALLS[name].partition(":")
        return getattr(importlib.import_module(module), function)(Mirror(self.workdir), **args)


class NoPool:
    """For runs that fit nothing in workers."""

    def close(self) -> None:
        """Nothing is open."""


class Inline(Session):
    """A session that starts no worker and keeps its seal before it goes on."""

    def start_pool(self) -> None:
        self.pool = NoPool()  # type: ignore[assignment]

    def keep_seal(self, settings: Mapping[str, Any]) -> None:
        settings = {"drawn": None, **settings}
        self.workdir.write_json("seal.json", settings)
        self.journal.call("keep_seal_settings", settings=settings, name=self.name)

    @cached_property
    def kept_seal(self) -> dict[str, Any] | None:
        return self.journal.call("seal_settings", name=self.name)


def good(work: Table) -> Any:
    """A sound model of whatever columns there are."""
    numbers = [c for c, kind in work.kinds.items() if kind in ("number", "boolean")]
    words = [c for c, kind in work.kinds.items() if kind in ("category", "text")]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    model = Ridge() if work.task == "regression" else LogisticRegression(max_iter=300, C=0.05)
    return make_pipeline(make_column_transformer((StandardScaler(), numbers), (encoder, words)), model)


def poor(work: Table) -> Any:
    """A model that has learned nothing but the middle."""
    columns = make_column_transformer(("drop", list(work.features)))
    return make_pipeline(columns, DummyRegressor() if work.task == "regression" else DummyClassifier())


def profiled(session: Session, fitted: Any) -> TableProfile:
    """The profile that a run would keep."""
    work, sealed, metric = session.work, session.sealed, session.metric
    table = session.table.take(session.work_places)
    if sealed is None:
        return profile_table(table.features, table.kinds)
    said = (fitted.predict_proba if work.classes else fitted.predict)(sealed.features)
    rows = (sealed.target, said, sealed.weight)
    error = compute_standard_error(metric, [rows], [session.sealed_keys], 0)
    score = Performance(metric.name, metric.score(*rows), error, sealed.rows, "test")
    return profile_table(table.features, table.kinds, to_prediction_columns(said, work.classes), "sealed", score)


class Registry:
    """A store in a folder, and the runs that filled it."""

    def __init__(self, folder: Path):
        self.folder, self.address, self.count = folder, f"sqlite:///{folder}/m.db", 0

    def train(
        self, name: str, data: pd.DataFrame, make: Callable[[Table], Any] = good, target: str = "target",
        unsafe: tuple[str, ...] = (), **run: Any,
    ) -> tuple[int, Path]:  # fmt: skip
        """Version and folder of a run over the table; the model is `make(work)` fitted on the work rows. `unsafe` names
        the families for which it is pickled."""
        session = self.begun(name, Run(data=data, target=target, name=name, **run))
        work, folder = session.work, session.workdir.path
        fitted = make(work).fit(work.features, work.target)
        joblib.dump(model(work, [("one", fitted, 1.0)]), folder / "model.joblib")
        skops.io.dump(joblib.load(folder / "model.joblib"), folder / "types.skops")
        example(session).to_parquet(folder / "example.parquet")
        write_row_keys(session, folder / "row_keys.npz")
        (folder / "profile.json").write_text(json.dumps(profiled(session, fitted).as_json()))
        session.record("run", "pipeline", status="FINISHED")
        found = register(
            Mirror(folder), name=name, model=str(folder / "model.joblib"), example=str(folder / "example.parquet"),
            kinds=work.kinds, task=work.task, classes=work.classes, reading=vars(session.table.reading),
            trusted=skops.io.get_untrusted_types(file=folder / "types.skops"), beats_constant=True,
            extra=known_by(session), unsafe=unsafe,
            beside=[str(folder / "row_keys.npz"), str(folder / "profile.json")],
        )  # fmt: skip
        session.own("done")
        session.close()
        return found["version"], folder

    def begun_seal(self, name: str, data: pd.DataFrame, **run: Any) -> Seal:
        """The seal of a run that ends there."""
        session = self.begun(name, Run(data=data, target="target", name=name, **run))
        session.close()
        assert session.seal is not None
        return session.seal

    def begun(self, name: str, run: Run) -> Session:
        """A session whose rows are read and sealed."""
        self.count += 1
        folder = self.folder / f"run{self.count}"
        folder.mkdir()
        journal = Direct(folder, name, self.address, start=False)
        session = Inline(run, name, Workdir(folder), Ledger(run.seconds, 0.0), journal)
        session.own()
        load_and_seal.take_in(session)
        load_and_seal.seal(session)
        return session
