"""Conformal intervals and sets from the run's outer rows to the columns that `nestor score` writes."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.model_selection import FixedThresholdClassifier

from flows.screen.tables import make_final_table
from models.config import Run, Score
from models.errors import InputError
from models.outcome import Report
from tasks.evaluation import conformal
from tasks.evaluation import evaluate as concluding
from tasks.evaluation.evaluate import Evaluation
from tasks.execution import worker
from tasks.planning import load_and_seal
from tasks.planning.plan import make_plan
from tasks.registry.conformal_file import unwrap_threshold
from tasks.registry.load import LoadedVersion, load_version
from tasks.reporting.publish import publish
from tasks.run.folder import Workdir
from tasks.run.ledger import Ledger
from tasks.scoring.intervals import make_interval_levels
from tasks.scoring.score import score
from tests.runs import LocalContext, tune_plan
from tests.versions import DirectJournal


@dataclass
class Trained:
    """A version from a whole run."""

    name: str
    evaluation: Evaluation
    report: Report
    address: str

    def scored(self, *levels: float, data: pd.DataFrame | None = None, **more: Any) -> pd.DataFrame:
        """What `nestor score` writes of the sealed rows."""
        assert self.evaluation.sealed_rows is not None
        rows = self.evaluation.sealed_rows.features if data is None else data
        out = self.evaluation.context.folder.path / "scored.parquet"
        score(Score(model=self.name, data=rows, out=str(out), intervals=levels, **more), self.address)
        return pd.read_parquet(out)

    def loaded(self) -> LoadedVersion:
        """The version as scoring has it."""
        return load_version(self.name, self.address)


class Told(DirectJournal):
    """A journal whose records nobody waits for."""

    def drain(self, timeout: float) -> int:
        return 0


class AtOnce:
    """Stands for the pool, whose processes take longer to start than these fits: each is run here."""

    workers = 1

    def __init__(self) -> None:
        self.lock = RLock()

    def submit(self, work: Any, *args: Any, priority: tuple[int, ...], timeout: float | None = None) -> Future:
        promise: Future = Future()
        with self.lock:
            promise.set_result(work(*args))
        return promise

    def cancel(self, chosen: Any) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """There is nothing to end."""


def trained(store: Path, name: str, data: pd.DataFrame, split: dict[str, Any] | None = None, **run: Any) -> Trained:
    """A version of two cheap families, two trials each."""
    folder, address = store / name, f"sqlite:///{store}/m.db"
    folder.mkdir()
    search = {"trials": 2, "families": ("constant", "linear")}
    settings = Run(data=data, target="target", search=search, split={"outer": 3, "inner": 2, **(split or {})}, **run)
    journal = Told(folder, name, address, start=False)
    context = LocalContext(settings, name, Workdir(folder), Ledger(None, time.time()), journal)
    context.made = AtOnce
    worker.peak._process = psutil.Process()
    try:
        context.write_state()
        sealed = load_and_seal.seal_rows(load_and_seal.load_table(context))
        evaluation = concluding.evaluate(tune_plan(make_plan(sealed)))
        context.record("run", "pipeline")
        report = publish(evaluation)
    finally:
        context.close()
    return Trained(name, evaluation, report, address)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """The folder of one MLflow: making its database takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def sugar(store) -> Trained:
    return trained(store, "sugar", load_diabetes(as_frame=True).frame)


@pytest.fixture(scope="module")
def wine(store) -> Trained:
    return trained(store, "wine", hard_wine())


@pytest.fixture(scope="module")
def odd(store) -> Trained:
    """Calibrated in every fold, with a threshold around the vote."""
    pixels = load_digits(as_frame=True).frame
    table = pixels[["pixel_2_3", "pixel_3_4", "pixel_4_2"]].assign(target=pixels["target"] % 3 == 0)
    final = {"calibrate": "always"}
    return trained(store, "odd", table, metric="f1", final=final, positive="True")


def hard_wine() -> pd.DataFrame:
    """Three wines by two columns: hard enough that a label alone does not do."""
    frame = load_wine(as_frame=True).frame
    return frame[["malic_acid", "ash", "target"]].assign(target=np.array(["a", "b", "c d"])[frame["target"]])


def test_each_folds_members_are_those_that_were_judged(sugar, wine, odd):
    """What the version's file says of members, applied to the judged rows, is what was scored to make the file."""
    assert isinstance(odd.loaded().model, FixedThresholdClassifier)
    assert all(one.finish.calibration for one in odd.evaluation.chosen.values())
    for one in (sugar, wine, odd):
        loaded = one.loaded()
        kept = loaded.conformal
        assert kept is not None
        assert (kept.method, kept.rows) == ("cv+", one.evaluation.work_rows.rows)
        work = one.evaluation.work_rows
        ask = "predict_proba" if work.classes else "predict"
        each = np.array([getattr(m, ask)(work.features) for m in unwrap_threshold(loaded.model).estimators_])
        for fold, said, (name, (target, judged, _)) in zip(
            kept.folds, kept.combine_members(each), one.evaluation.outer, strict=True
        ):
            rows = one.evaluation.folds[name].judge
            assert np.allclose(said[rows], judged)
            own = np.abs(target - judged) if not work.classes else 1 - judged[np.arange(len(rows)), target]
            assert fold.fold == name
            assert np.isin(fold.values, own).all()
            assert fold.values[-1] == own.max()
            assert fold.counts.sum() == len(own)


def test_scoring_the_sealed_rows_covers_what_the_report_says(sugar):
    found, target = sugar.scored(0.8, 0.9, 0.95), sugar.evaluation.sealed_rows.target
    assert list(found) == [
        "prediction", "low_80", "high_80", "low_90", "high_90", "low_95", "high_95", "model_version",
    ]  # fmt: skip
    for said in sugar.report.coverage:
        low, high = (found[f"{end}_{100 * said.level:g}"] for end in ("low", "high"))
        assert np.mean((low <= target) & (target <= high)) == pytest.approx(said.covered)
        assert np.mean(high - low) == pytest.approx(said.size)
        assert abs(said.covered - said.level) < 0.12
    assert (found["low_95"] < found["low_80"]).all()
    assert found["prediction"].between(found["low_80"], found["high_80"]).all()


@pytest.mark.parametrize("which", ["wine", "odd"])
def test_sets_of_the_sealed_rows_cover_what_the_report_says(which, request):
    one = request.getfixturevalue(which)
    found, sealed = one.scored(0.8, 0.95), one.evaluation.sealed_rows
    assert list(found)[-3:] == ["set_80", "set_95", "model_version"]
    truth = np.array(sealed.classes)[sealed.target]
    for said in one.report.coverage:
        if said.level == 0.9:
            continue
        sets = found[f"set_{100 * said.level:g}"].str.split(" | ", regex=False)
        assert np.mean([str(t) in s for t, s in zip(truth, sets, strict=True)]) == pytest.approx(said.covered)
        assert sets.str.len().mean() == pytest.approx(said.size)
        likeliest = found.filter(like="probability_").idxmax(axis=1).str.removeprefix("probability_")
        assert all(label in s for label, s in zip(likeliest, sets, strict=True))
    sizes = found["set_95"].str.count(r"\|") + 1
    assert sizes.min() >= 1
    assert sizes.mean() > 1.2
    assert {"a | b", "False | True"} & set(found["set_95"])


@pytest.mark.parametrize("which", ["sugar", "wine", "odd"])
def test_predictions_are_the_same_with_and_without(which, request):
    one = request.getfixturevalue(which)
    plain, more = one.scored(), one.scored(0.9)
    pd.testing.assert_frame_equal(more[list(plain)], plain, check_exact=True)


def test_a_csv_holds_them_too_and_no_rows_do(sugar, tmp_path):
    out = tmp_path / "out.csv"
    rows = sugar.evaluation.sealed_rows.features
    score(Score(model="sugar", data=rows.head(3), out=str(out), intervals="0.5,0.99", keep="age"), sugar.address)
    assert list(pd.read_csv(out)) == [
        "age", "prediction", "low_50", "high_50", "low_99", "high_99", "model_version",
    ]  # fmt: skip
    score(Score(model="sugar", data=rows.head(0), out=str(out), intervals=0.5), sugar.address)
    assert list(pd.read_csv(out)) == ["prediction", "low_50", "high_50", "model_version"]


def test_what_can_not_be_is_said_before_a_row_is_read(sugar, tmp_path):
    with pytest.raises(InputError, match=r"of level 0\.999 needs scores of 999 rows; .* judged 3\d\d: .* is 0\.99\d\d"):
        sugar.scored(0.9, 0.999)
    taken = sugar.evaluation.sealed_rows.features.assign(low_90=1)
    with pytest.raises(InputError, match="The output has a column 'low_90' of its own"):
        sugar.scored(0.9, data=taken, keep=("low_90",))
    loaded = sugar.loaded()
    with pytest.raises(InputError, match=r"sugar/1 keeps no scores to make intervals of: .* without outer folds"):
        make_interval_levels([0.9], None, loaded.label)


def test_the_report_tells_of_coverage_everywhere(sugar, wine):
    shown = sugar.report.as_json()["coverage"]
    assert [c["level"] for c in shown] == [0.8, 0.9, 0.95]
    assert Report.from_json(json.loads(json.dumps(sugar.report.as_json()))).coverage == sugar.report.coverage
    assert sugar.report.coverage_sentence.startswith("Prediction intervals asked to cover 80 % of rows covered ")
    assert wine.report.coverage_sentence.startswith("Prediction sets asked to cover 80 % of rows covered ")
    page = (sugar.evaluation.context.folder.path / "artifacts" / "report.html").read_text("utf-8")
    assert sugar.report.coverage_sentence in page
    from rich.console import Console

    with (console := Console(width=200)).capture() as said:
        console.print(make_final_table(sugar.report))
    assert sugar.report.coverage_sentence in said.get()
    assert sugar.loaded().facts["metrics"]["coverage_90"] == shown[1]["covered"]


def test_a_refitted_model_says_that_it_is_one(store):
    """In time order with the sealed rows fitted too: scores of all folds around the one model that consumers get."""
    frame = load_diabetes(as_frame=True).frame
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(frame)), unit="D")
    one = trained(store, "days", frame.assign(day=days), split={"time": "day"})
    kept = one.loaded().conformal
    assert (kept.method, len(kept.folds)) == ("refit", 1)
    found = one.scored(0.9, data=one.evaluation.sealed_rows.features)
    width = found["high_90"] - found["low_90"]
    assert np.allclose(width, width.iloc[0])
    assert np.allclose(found["prediction"], (found["high_90"] + found["low_90"]) / 2)
    assert len(one.report.coverage) == 3


def test_folds_whose_members_lack_a_class_and_are_not_delivered_count_for_nothing(wine):
    evaluation = wine.evaluation
    lacks = evaluation.folds["2"].train[0]
    fewer = replace(evaluation.folds["2"], train=np.array([lacks]))
    plan = replace(evaluation, folds={**evaluation.folds, "2": fewer})
    kept = conformal.make_conformal(plan, evaluation.chosen, evaluation.outer)
    assert [f.fold for f in kept.folds] == [k for k, _ in evaluation.outer if k != "2"]


PAGE = (Path(__file__).parents[3] / "docs" / "consume.md").read_text("utf-8")


def test_the_lines_of_the_docs_make_the_same_without_this_project(sugar, wine, odd):
    names: dict[str, Any] = {}
    exec(re.findall(r"<!-- tested: between -->\n```python\n(.*?)```", PAGE, re.S)[0], names)
    for one in (sugar, wine, odd):
        loaded, found, rows = one.loaded(), one.scored(0.8, 0.95), one.evaluation.sealed_rows.features
        kept = json.loads(json.dumps(loaded.conformal.as_json()))
        for level in (0.8, 0.95):
            if one is sugar:
                low, high = names["between"](loaded.model, kept, rows, level)
                assert np.allclose(low, found[f"low_{100 * level:g}"], atol=1e-3)
                assert np.allclose(high, found[f"high_{100 * level:g}"], atol=1e-3)
            else:
                labels = names["among"](loaded.model, kept, rows, level)
                assert [" | ".join(map(str, some)) for some in labels] == list(found[f"set_{100 * level:g}"])
