"""The delivered model speaks the table's labels, whatever order the classes stand in, and all of them."""

import threading
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.config import Run
from models.errors import InputError, NestorError
from models.evaluation.ensemble import EnsembleMember
from models.splitting.split import ALL
from tasks.data import read_table
from tasks.evaluation.ensemble import FoldEnsemble
from tasks.evaluation.evaluate import Evaluation, evaluate
from tasks.evaluation.package import build_model, package_models
from tasks.execution import worker
from tasks.planning.plan import make_plan
from tasks.tuning.tune import refit
from tasks.values import advance
from tests.runs import begin_run, make_frame, make_small_run, tune_plan


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_the_positive_class_may_be_either(positive, tmp_path):
    size = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"size": size, "sold": np.where(size > 0, "no", "yes")})
    table = read_table(Run(data=frame, target="sold", positive=positive))
    assert table.classes[1] == positive
    fitted = make_pipeline(LogisticRegression()).fit(table.features, table.target)
    file = tmp_path / "model.skops"
    skops.io.dump(build_model(table, [("one", fitted, 1.0)]), file)
    loaded = skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
    assert list(loaded.classes_) == list(table.classes)
    assert (loaded.predict(table.features) == frame["sold"]).mean() > 0.97
    of_positive = loaded.predict_proba(table.features)[:, 1]
    assert of_positive[(frame["sold"] == positive).to_numpy()].min() > 0.4


class Together:
    """Stands for the pool: fits run in this process, those with the sealed rows when two of them were asked for."""

    workers = 2

    def __init__(self) -> None:
        self._both, self._lock = threading.Barrier(2, timeout=10), threading.Lock()

    def submit(self, work, *args, priority, timeout=None) -> Future:
        if work is worker.run_fit and args[0].with_sealed:
            self._both.wait()
        promise: Future = Future()
        with self._lock:
            promise.set_result(work(*args))
        return promise

    def close(self) -> None:
        """There is nothing to end."""


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.setattr(worker.peak, "_process", psutil.Process(), raising=False)
    return Together


@pytest.fixture
def newly():
    """A table whose last class first occurs in the window that judges last."""
    data = make_frame(task="multiclass").drop(columns=["day", "words", "town"])
    early = np.arange(len(data)) < 0.65 * len(data)
    data.loc[early & (data["target"] == "high"), "target"] = "mid"
    return data


NEWLY = {"search": {"trials": 1, "families": ("constant", "linear")}}


@pytest.mark.parametrize("trials", [1, None], ids=["trials", "a budget"])
def test_a_bag_of_which_no_member_would_know_every_class_is_refused_before_any_fit(newly, trials, tmp_path):
    """With a budget defaults are timed first."""
    search = {**NEWLY["search"], "trials": trials}
    sealed = begin_run(
        make_small_run("time", newly, search=search, final={"deliver": "bag"}), tmp_path, pool=lambda: None
    )
    assert (sealed.context.ledger.limit is None) == bool(trials)
    with pytest.raises(InputError, match=r"lack at least one of these targets: high\. .*--deliver refit"):
        make_plan(sealed)


def test_where_no_member_knows_every_class_it_is_said_what_to_do(newly, tmp_path, pool, monkeypatch):
    """More time does something only where time is what the run counts."""
    sealed = begin_run(make_small_run("time", newly, **NEWLY), tmp_path, pool=pool)
    studies = tune_plan(make_plan(sealed))
    none = {(name, ALL): () for name in NEWLY["search"]["families"]}
    evaluation = evaluate(replace(studies, trials={**studies.trials, **none}))
    with pytest.raises(NestorError, match=r"lack at least one of these targets: high\. So none can be delivered\.$"):
        package_models(evaluation)
    monkeypatch.setattr(sealed.context.ledger, "limit", 60.0)
    with pytest.raises(NestorError, match=r"can be delivered\. Go on with --resume and more time: --budget\.$"):
        package_models(evaluation)


def test_the_last_fits_with_the_sealed_rows_are_asked_for_together(tmp_path, pool):
    data = make_frame().drop(columns=["day", "words", "town"])
    search = {"trials": 1, "families": ("constant", "linear")}
    sealed = begin_run(make_small_run("time", data, search=search), tmp_path, pool=pool)
    studies = tune_plan(make_plan(sealed))
    members = tuple(EnsembleMember(name, 0, 0.5) for name in search["families"])
    for one in members:
        refit(studies, one.family, ALL, studies.trials[one.family, ALL][0])
    chosen = {ALL: FoldEnsemble(ALL, members, 0.0)}
    whole, twin = package_models(advance(
        Evaluation, studies, chosen=chosen, families=(), winner="linear", estimate=None, test=None, optimism=None,
        agreement=None, beats_constant=False, outer=(),
    ))  # fmt: skip
    assert twin is not None
    rows = sealed.work_rows.features
    assert not np.array_equal(whole.predict_proba(rows), twin.predict_proba(rows))
