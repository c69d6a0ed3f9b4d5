"""The laws of the statistical contract, on whole runs: who may see which rows, and what repeats to the last digit.

Laws 1, 2, 7 and 8 take hundreds of runs: see tests/prove."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.compose import ColumnTransformer

import models.columns
import models.families
from models.data.table import Table
from models.families import load_families
from models.fitting.family import Family
from models.splitting.seal import make_row_keys
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.evaluate import Evaluation
from tasks.evaluation.package import package_models
from tasks.execution import worker
from tasks.execution.pool import FitError
from tasks.planning import load_and_seal
from tasks.planning.plan import make_plan
from tasks.values import RunPlan
from tests import runs
from tests.runs import PLANS, begin_run, collect_numbers, drop_times, make_frame, make_small_run, tune_plan, wait_for

# --- Law 3: who sees which rows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Rows that a spy was shown."""

    by: str
    """estimator, stop, columns (all three learn from them) or transform."""
    job: Any
    """The Job, or "sealed" while the sealed rows are predicted."""
    rows: np.ndarray
    """Their numbers in the table."""


class Inline:
    """Stands for the pool: each fit is run at once in this process, where spies can be heard."""

    workers = 1

    def __init__(self) -> None:
        worker.peak._process = psutil.Process()  # as `fit.begin` does in a worker
        self.job: Any = None
        self._lock = threading.RLock()

    def submit(self, work: Any, *args: Any, priority: tuple[int, ...], timeout: float | None = None) -> Future:
        promise: Future = Future()
        with self._lock:
            self.job = args[0] if work is worker.run_fit else "sealed"
            try:
                promise.set_result(work(*args))
            except Exception as error:
                promise.set_exception(FitError("failed", repr(error)))
        return promise

    def close(self) -> None:
        """There is nothing to end."""


SEEN: list[Seen] = []
INLINE = Inline()


class SpyColumns(ColumnTransformer):
    """The preparation, telling of the rows it is fitted on and of those it prepares."""

    def fit_transform(self, X: Any, y: Any = None, **more: Any) -> Any:
        SEEN.append(Seen("columns", INLINE.job, X["row"].to_numpy().astype(int)))
        return super().fit_transform(X, y, **more)

    def transform(self, X: Any, **more: Any) -> Any:
        SEEN.append(Seen("transform", INLINE.job, X["row"].to_numpy().astype(int)))
        return super().transform(X, **more)


def spying(known: Family, target: np.ndarray) -> Family:
    """The family, telling of the rows it is fitted on; each must come with its own target."""

    def heard(by: str, X: np.ndarray, y: np.ndarray) -> None:
        rows = X[:, 0].astype(int)
        SEEN.append(Seen(by, INLINE.job, rows))
        assert (target[rows] == y).all()

    def spy(config, part, seed, threads):
        heard("estimator", part.X, part.y)
        if part.stop is not None:
            heard("stop", part.stop[0], part.stop[1])
        return known.fit(config, part, seed, threads)

    return replace(known, name="spy", fit=spy, fidelity="rows")


@dataclass(frozen=True)
class Spied:
    """A run that was spied on."""

    evaluation: Evaluation
    seen: tuple[Seen, ...]


@pytest.fixture(scope="module", params=PLANS)
def spied(request, tmp_path_factory):
    """A run to its very end, refit with the sealed rows included, whose one family and whose columns are spies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        evaluation = spied_on(request.param, tmp_path_factory.mktemp("spied"), monkeypatch)
    return Spied(evaluation, tuple(SEEN))


def spied_on(plan: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    data = make_frame()
    data.insert(0, "row", np.arange(len(data), dtype=float))
    target = data["target"].eq("yes").to_numpy().astype(int)
    spy = spying(load_families()["lightgbm"], target)
    monkeypatch.setattr(models.families, "load_families", lambda: {"spy": spy})
    monkeypatch.setattr(models.columns, "ColumnTransformer", SpyColumns)
    SEEN.clear()
    run = make_small_run(
        plan, data, search={"trials": 4, "families": ("spy",), "strategy": "halving"},
        final={"deliver": "refit", "rows": "all"},
    )  # fmt: skip
    run = run.model_copy(update={"types": {**run.types, "row": "number"}})
    sealed = begin_run(run, folder, pool=lambda: INLINE)
    evaluation = concluding.evaluate(tune_plan(make_plan(sealed)))
    package_models(evaluation)
    sealed.context.close()
    return evaluation


def numbered(table: Table) -> np.ndarray:
    return table.features["row"].to_numpy().astype(int)


def test_what_learns_sees_its_own_training_rows_only(spied):
    evaluation = spied.evaluation
    row, sealed = numbered(evaluation.work_rows), numbered(evaluation.sealed_rows)
    learned = [s for s in spied.seen if s.by != "transform"]
    for by in ("estimator", "stop", "columns"):
        assert {s.job.fold for s in learned if s.by == by} == set(evaluation.folds)
    for seen in learned:
        fold = evaluation.folds[seen.job.fold]
        allowed = row[fold.train if seen.job.inner is None else fold.inner[seen.job.inner][0]]
        if seen.job.with_sealed:
            assert set(seen.rows) == {*allowed, *sealed}
            continue
        assert np.isin(seen.rows, allowed).all()
        assert len(seen.rows) < len(allowed) or seen.job.share == 1
        assert not np.isin(seen.rows, row[fold.judge]).any()
        assert not np.isin(seen.rows, sealed).any()
    assert {s.job.share for s in learned} == {2 / 3, 1.0}, "parts of the rows are learned from too"


def test_rows_that_judge_are_prepared_for_their_own_fold_only(spied):
    row = numbered(spied.evaluation.work_rows)
    for seen in [s for s in spied.seen if s.by == "transform" and s.job != "sealed"]:
        fold = spied.evaluation.folds[seen.job.fold]
        judge = fold.judge if seen.job.inner is None else fold.inner[seen.job.inner][1]
        assert np.isin(seen.rows, row[judge]).all()


def test_the_sealed_rows_are_touched_once_everything_is_fixed(spied):
    sealed, seen = numbered(spied.evaluation.sealed_rows), spied.seen
    touched = [i for i, s in enumerate(seen) if np.isin(s.rows, sealed).any()]
    before = [i for i, s in enumerate(seen) if s.job != "sealed" and not s.job.with_sealed]
    assert touched
    assert min(touched) > max(before)
    assert {len(seen[i].rows) for i in touched if seen[i].job == "sealed"} == {len(sealed)}


@pytest.mark.parametrize("plan", PLANS)
def test_a_run_gets_to_its_last_choice_with_the_sealed_rows_away(plan, tmp_path):
    search = {"trials": 1, "families": ("linear", "lightgbm")}
    sealed = begin_run(
        make_small_run(plan, make_frame().drop(columns=["day", "words"]), search=search, final={"deliver": "refit"}),
        tmp_path,
    )
    try:
        files = [p for p in tmp_path.iterdir() if p.name.startswith("sealed")]
        grouped = ("group",) if "group" in plan else ()
        arrays = {f"sealed_{name}.npy" for name in ("target", "weight", "row_keys", "units", *grouped)}
        assert {p.name for p in files} == {"sealed.arrow", "sealed.json", *arrays}
        away = [p.rename(p.with_name("away_" + p.name)) for p in files]
        studies = tune_plan(make_plan(replace(sealed, sealed_rows=None)))
        early = concluding.evaluate(studies)
        assert early.test is None
        for path in away:
            path.rename(path.with_name(path.name.removeprefix("away_")))
        late = concluding.evaluate(replace(studies, sealed_rows=sealed.sealed_rows))
        assert late.test is not None
        assert (late.chosen, late.estimate, late.optimism) == (early.chosen, early.estimate, early.optimism)
    finally:
        sealed.context.close()


# --- Law 3b: exchange -------------------------------------------------------------------------------------------------

JUDGE = "2"
"""The outer fold whose judging rows are replaced."""
FEW = ("linear", "lightgbm", "knn")
"""Families with each kind of need; all others where everything is proven."""
EVERY = tuple(name for name, f in load_families().items() if f.available and f.safe)
CASES = {"random": "regression", "group": "binary", "time": "multiclass", "group_time": "regression"}


def replaced(table: Table, rows: np.ndarray) -> Table:
    """The table with every value of every column, target and weight in these rows another one: outliers, levels and
    words that nobody has seen, other labels. (A shuffle would keep the marginals, and what leaks through them.)"""
    features = table.features.copy()
    for column, kind in table.kinds.items():
        features[column] = features[column].where(~np.isin(np.arange(table.rows), rows), _others(kind, table.rows))
    target = table.target.copy()
    target[rows] = (target[rows] + 1) % len(table.classes) if table.classes else 1e6 * (2 + np.arange(len(rows)) ** 2)
    weight = None if table.weight is None else table.weight.copy()
    if weight is not None:
        weight[rows] *= 1000
    return replace(table, features=features, target=target, weight=weight)


def _others(kind: str, rows: int) -> pd.Series:
    places = np.arange(rows)
    if kind == "date":
        return pd.Series(pd.Timestamp("1900-01-01") + pd.to_timedelta(places * 997, unit="min")).astype("M8[us]")
    if kind in ("category", "ordered", "text"):
        return pd.Series([f"unseen {place} and others of its kind" for place in places], dtype="str")
    return pd.Series((places % 2 * 7.0) if kind == "boolean" else 1e9 * (-1.0) ** places * (1 + places**3))


class Exchange:
    """Runs over one table and plan: as it is, with B_k's and T's rows replaced, with T's alone."""

    def __init__(self, plan: str, task: str, folder: Path, names: tuple[str, ...], data: pd.DataFrame, **how: Any):
        metric = {"binary": "f1"}.get(task)  # which wants a threshold
        if task == "regression":  # nowhere negative: what replaces it gives it a long tail
            data = data.assign(target=data["target"] + 20)
        self.how, search = how, {"trials": 2, "families": names}
        self.run = make_small_run(plan, data, search=search, metric=metric)
        self.whole = self._run(folder / "whole", None, judge=False, seal=False)
        self.probe = self.whole.work_rows.features.iloc[self.whole.folds[JUDGE].train[:40]]
        self.both = self._run(folder / "both", self.whole, judge=True, seal=True)
        self.sealed = self._run(folder / "sealed", self.whole, judge=False, seal=True)

    def _run(self, folder: Path, like: Evaluation | None, judge: bool, seal: bool) -> Evaluation:
        sealed = begin_run(self.run, folder, **self.how)
        try:
            if like is not None:
                sealed.context.folder.write_pickle("plan", like.context.folder.read_pickle("plan"))
                work, held = sealed.work_rows, sealed.sealed_rows
                sealed = replace(
                    sealed,
                    work_rows=replaced(work, like.folds[JUDGE].judge) if judge else work,
                    sealed_rows=replaced(held, np.arange(held.rows)) if seal and held is not None else held,
                )
                load_and_seal._write_parts(sealed)
            return concluding.evaluate(tune_plan(make_plan(sealed)))
        finally:
            sealed.context.close()

    def made(self, plan: RunPlan, fold: str) -> dict[str, Any]:
        """What was made for a fold before it was judged: prepared columns, inner scores and predictions, and what the
        refitted models say of the probe."""
        path = plan.context.folder.path
        found: dict[str, Any] = {
            str(p.relative_to(path)): p.read_bytes()
            for pattern in (f"columns/*/{fold}-*.npy", f"fits/*/*/{fold}/*/[0-9].npy")
            for p in path.glob(pattern)
        }
        for place in path.glob(f"fits/*/*/{fold}/*/[0-9].json"):
            kept = plan.context.folder.read_json(str(place.relative_to(path)))
            found[str(place.relative_to(path))] = kept["score"], kept["rounds"]
        for place in path.glob(f"fits/*/*/{fold}/*/refit.pkl"):
            pipeline, classes = plan.context.folder.read_pickle(str(place.relative_to(path).with_suffix("")))
            prediction = worker.predict_rows(pipeline, self.probe, classes, plan.fit_context)
            found[str(place.relative_to(path))] = prediction.tobytes()
        return found


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory):
    """By plan: a few families, one task, no pool; no dates and texts, whose library takes seconds to load."""

    def made(plan: str) -> Exchange:
        data = make_frame(task=CASES[plan]).drop(columns=["day", "words"])
        return Exchange(plan, CASES[plan], tmp_path_factory.mktemp(plan), FEW, data, pool=lambda: INLINE)

    return cache(made)


def assert_nothing_changed_but_scores(runs: Exchange) -> None:
    """B_k and T replaced change nothing that fold k made before it was judged; T replaced changes nothing before T."""
    whole, both, sealed = (runs.made(one, JUDGE) for one in (runs.whole, runs.both, runs.sealed))
    assert len({Path(name).parts[2] for name in whole if name.startswith("fits")}) == len(runs.whole.scope.families)
    assert [name for name in whole if both.get(name) != whole[name]] == []
    assert sorted(both) == sorted(whole) == sorted(sealed)
    for name in runs.whole.scope.families:
        trials = [[drop_times(t) for t in s.trials[name, JUDGE]] for s in (runs.whole, runs.both)]
        assert trials[0] == trials[1]
    assert runs.both.chosen[JUDGE] == runs.whole.chosen[JUDGE]
    outer = [dict(c.outer)[JUDGE] for c in (runs.whole, runs.both)]
    assert not np.array_equal(outer[0][1], outer[1][1]), "replacing changed nothing: this law would hold of anything"

    before, after = collect_numbers(runs.whole), collect_numbers(runs.sealed)
    assert before.pop("test") != after.pop("test")
    assert before.pop("agreement") != after.pop("agreement")
    kept = before.pop("coverage"), after.pop("coverage")
    classes = len(runs.whole.work_rows.classes)  # sets that hold every class cover all rows, whichever these are
    assert kept[0] != kept[1] or all(one.size == classes for one in kept[0])
    assert before == after
    assert all(runs.made(runs.whole, k) == runs.made(runs.sealed, k) for k in runs.whole.folds)


@pytest.mark.parametrize("plan", PLANS)
def test_replaced_judging_and_sealed_rows_change_nothing_made_without_them(plan, exchanges):
    assert_nothing_changed_but_scores(exchanges(plan))


@pytest.mark.prove
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("plan", PLANS)
def test_replaced_rows_change_nothing_whatever_the_family(plan, task, tmp_path):
    runs = Exchange(plan, task, tmp_path, EVERY, make_frame(task=task))
    assert_nothing_changed_but_scores(runs)


def test_what_workers_map_holds_work_rows_only(exchanges):
    evaluation = exchanges("random").whole
    folder = evaluation.context.folder
    sizes = {p.name: len(np.load(p)) for p in folder.path.glob("*.npy") if not p.name.startswith("sealed")}
    assert set(sizes.values()) == {evaluation.work_rows.rows}
    assert len(folder.read_frame("work")) == evaluation.work_rows.rows
    assert not np.isin(make_row_keys(folder.read_frame("work")), make_row_keys(folder.read_frame("sealed"))).any()


# --- Law 4: what belongs together ------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS)
def test_no_group_and_no_copy_is_on_two_sides_of_any_split_of_a_run(plan, tmp_path):
    data = make_frame()
    data = pd.concat([data, data.sample(30, random_state=0)], ignore_index=True)
    sealed = begin_run(make_small_run(plan, data, search={"trials": 1}), tmp_path)
    folds = make_plan(sealed).folds
    sealed.context.close()
    work, held = sealed.work_rows, sealed.sealed_rows
    unit, held_unit = (named(rows) if "group" in plan else names_of_rows(rows) for rows in (work, held))
    sides = [(unit, held_unit)]
    for fold in folds.values():
        for one, other in ((fold.train, fold.judge), *fold.inner, *fold.stops):
            sides.append((unit[one], unit[other]))
            if work.time is not None and len(other):
                assert work.time[one].max() < work.time[other].min()
    if work.time is not None:
        assert work.time.max() < held.time.min()
    else:
        assert len(set(unit)) < work.rows, "there is nothing here that could be torn apart"
    assert not [(a, b) for a, b in sides if np.isin(a, b).any()]


def named(table: Table) -> np.ndarray:
    return table.group_names.iloc[:, 0].to_numpy(str)


def names_of_rows(table: Table) -> np.ndarray:
    """Features and target of each row as one text, whatever Nestor thinks of keys."""
    whole = table.features.assign(**{"the target": table.target})
    return np.array(["|".join(map(str, row)) for row in whole.itertuples(index=False)])


# --- Law 5: to the last digit ----------------------------------------------------------------------------------------

REPEATED = {
    "search": {"trials": 12, "families": ("constant", "linear", "lightgbm")},
    "drop": ("group", "when", "day", "words"),
}
"""More trials than the sampler draws blindly, so that it must repeat what it learned too."""

KILLED = """
from pathlib import Path
from tests.runs import make_small_run, train_run
train_run(make_small_run(**{settings!r}), Path({path!r}))
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return collect_numbers(
        runs.train_run(make_small_run(**REPEATED, budget={"workers": 2}), tmp_path_factory.mktemp("unbroken"))
    )


@pytest.mark.parametrize("workers", [1, 4])
def test_a_count_of_trials_repeats_to_the_last_digit_with_any_number_of_workers(workers, unbroken, trained):
    assert collect_numbers(trained(make_small_run(**REPEATED, budget={"workers": workers}))) == unbroken


def test_another_seed_tries_other_configurations(unbroken, trained):
    run = make_small_run(**{**REPEATED, "search": {"trials": 2, "families": ("linear",)}, "seed": 1})
    other = collect_numbers(trained(run))
    assert other["trials"]["linear", "1"][1] != unbroken["trials"]["linear", "1"][1]


def test_killed_and_resumed_equals_unbroken(unbroken, tmp_path):
    code = KILLED.format(settings={**REPEATED, "budget": {"workers": 2}}, path=str(tmp_path))
    for fits in (9, 60):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
        assert wait_for(lambda fits=fits: len(list(tmp_path.glob("fits/**/*.json"))) >= fits, 120)
        whole = runs.list_process_tree(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert wait_for(lambda whole=whole: not runs.list_living(whole), 20)
    assert collect_numbers(runs.train_run(make_small_run(**REPEATED, budget={"workers": 2}), tmp_path)) == unbroken
