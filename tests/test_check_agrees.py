"""What `check` passes, training finishes; what it stops, training stops before its first fit, in the same words."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from models.config import Run
from models.errors import InputError
from tasks.execution import worker
from tasks.planning.checks import check_table
from tests.runs import train_run
from tests.test_laws import Inline

ROWS = 200
QUICK = {"search": {"trials": 1, "families": ("constant", "linear")}, "name": "law"}
_NAN = re.compile(r"(?<![A-Za-z])(nan|NaN|inf)(?![A-Za-z])")


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Rows by day, of ten groups, with two classes that a column tells apart."""
    draw = np.random.default_rng(seed)
    a = draw.normal(size=rows)
    return pd.DataFrame(
        {
            "a": a,
            "b": draw.choice(["u", "v"], rows),
            "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="D"),
            "g": [f"g{i}" for i in np.arange(rows) % 10],
            "w": 1.0,
            "y": np.where(a + draw.normal(size=rows) > 0, "yes", "no"),
            "value": 3 * a + draw.normal(size=rows),
        }
    )


PLAIN, TIME, GROUP = ("t", "g", "w"), ("g", "w"), ("t", "w")


def run_over(data: pd.DataFrame, drop: tuple[str, ...], target: str = "y", **more: Any) -> Run:
    other = "value" if target == "y" else "y"
    return Run.model_validate({**QUICK, "data": data, "target": target, "drop": (*drop, other), **more})


def over_time(y: Any = None, **more: Any) -> Run:
    data = table()
    return run_over(data if y is None else data.assign(y=y), TIME, split={"time": "t", **more.pop("split", {})}, **more)


def days(*counts: int) -> np.ndarray:
    """Labels by day: so many of `old`, then of `new`, and so on in turn."""
    return np.concatenate([np.full(n, ["old", "new"][i % 2]) for i, n in enumerate(counts)])


def times(distinct: int, rows: int = ROWS) -> Run:
    spread = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) % distinct, unit="D")
    return run_over(table(rows).assign(t=spread), TIME, split={"time": "t"})


def groups(of_yes: int, distinct: int = 10) -> Run:
    data = table()
    place = np.arange(ROWS) % distinct
    mixed = (np.arange(ROWS) // distinct) % 2 == 0
    data = data.assign(g=[f"g{i}" for i in place], y=np.where((place < of_yes) & mixed, "yes", "no"))
    return run_over(data, GROUP, split={"group": "g"})


def weights(zero: str, value: float = 0.0, **more: Any) -> Run:
    data = table()
    return run_over(data.assign(w=np.where(data["y"] == zero, value, 1.0)), ("t", "g"), weight="w", **more)


STOPS = {
    "three times": (lambda: times(3), "3 different times in 200 rows; 4 are needed"),
    "two times": (lambda: times(2), "2 different times in 200 rows; 4 are needed"),
    "late": (lambda: over_time(days(150, 50)), "Class new stands only after 2024-05-29, so no part trains on it."),
    "early": (lambda: over_time(days(30, 170)), "Class old stands only before 2024-01-31, so no part that judges"),
    "late, two parts": (lambda: over_time(days(150, 50), split={"outer": 2, "inner": 2}), "Class new stands only"),
    "one group": (lambda: groups(1), "Class yes is in one group alone, so no part that judges holds it"),
    "two groups": (lambda: groups(2), "Class yes is in "),
    "weight 0": (lambda: weights("yes"), "All rows of class yes weigh 0, so no part trains on it."),
    "another weight 0": (lambda: weights("no"), "All rows of class no weigh 0, so no part trains on it."),
    "old rows weigh 0": (
        lambda: run_over(table().assign(w=np.r_[np.zeros(120), np.ones(80)]), ("g",), "value",
                         weight="w", split={"time": "t"}),
        "rows that train weigh 0",
    ),
    "no such metric": (lambda: run_over(table(), PLAIN, metric="rocauk"), "No metric 'rocauk'"),
    "a metric that is undefined": (
        lambda: run_over(table(), PLAIN, "value", metric="gamma_deviance"), "gamma_deviance can't be computed on"
    ),
    "no such family": (lambda: run_over(table(), PLAIN, search={"families": "lniear"}), "No family 'lniear'"),
    "all rows are sealed": (
        lambda: run_over(table().assign(y=days(160, 40)), TIME, split={"time": "t"}), "All rows with the target new"
    ),
    "subgroups too small": (
        lambda: run_over(table(40), PLAIN, search={**QUICK["search"], "objectives": ["gap:b"]}), "gap:b can't be"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker.peak, "_process", psutil.Process(), raising=False)


def stops_of(run: Run) -> list[str]:
    return [f.message for f in check_table(run)[1] if f.verdict == "stop"]


class Never(Inline):
    """A pool that nothing may be given to."""

    def submit(self, *args: Any, **more: Any) -> Any:
        raise AssertionError("a fit was asked for")


@pytest.mark.parametrize("case", STOPS)
def test_check_and_training_stop_with_one_sentence_before_any_fit(case: str, tmp_path: Path) -> None:
    run, says = STOPS[case][0](), STOPS[case][1]
    (stop,) = stops_of(run)
    assert says in stop
    assert not _NAN.search(stop)
    with pytest.raises(InputError) as raised:
        train_run(run, tmp_path / "run", pool=Never)
    assert str(raised.value) == stop


PASSES = {
    "four times": lambda: times(4),
    "seven times": lambda: times(7),
    "numeric target": lambda: run_over(table(), PLAIN, "value"),
    "numeric target over time": lambda: run_over(table(), TIME, "value", split={"time": "t"}),
    "a rare class that comes and goes": lambda: over_time(np.where(np.arange(ROWS) % 17 == 3, "new", "old")),
    "a class from the middle on": lambda: over_time(np.where((np.arange(ROWS) > 60) & (np.arange(ROWS) % 3 == 0),
                                                             "new", "old")),
    "sealed rows of one class": lambda: over_time(np.where((np.arange(ROWS) < 150) & (np.arange(ROWS) % 3 == 0),
                                                           "new", "old")),
    "four groups of a class": lambda: groups(4),
    "groups and times": lambda: run_over(table(), ("w",), split={"group": "g", "time": "t"}),
    "some weights 0": lambda: run_over(table().assign(w=np.arange(ROWS) % 2), ("t", "g"), weight="w"),
    "twelve rows": lambda: run_over(table(12, seed=3), PLAIN, "value"),
    "six of a class": lambda: run_over(table().assign(y=np.where(np.arange(ROWS) < 6, "yes", "no")), PLAIN),
    "test rows given": lambda: run_over(table().assign(s=np.arange(ROWS) % 5 == 0), PLAIN,
                                        split={"test_column": "s"}),
    "test rows of one class": lambda: run_over(table().head(160), PLAIN, test=table().tail(40).assign(y="no")),
    "three classes over time": lambda: over_time(np.where(np.arange(ROWS) < 140, np.resize(["a", "b"], ROWS), "c"),
                                                 metric="log_loss"),
    "a series": lambda: run_over(table(), TIME, "value", split={"time": "t", "horizon": "2d"}),
    "a panel": lambda: panel(),
}  # fmt: skip


def panel() -> Run:
    data = table(100)
    both = pd.concat([data.assign(shop="n"), data.assign(shop="s", value=-data["value"])], ignore_index=True)
    return run_over(both, TIME, "value", split={"time": "t", "series": "shop", "horizon": "2d"})


def agrees(run: Run, folder: Path) -> None:
    """The law."""
    stops = stops_of(run)
    if stops:
        with pytest.raises(InputError) as raised:
            train_run(run, folder, pool=Inline)
        assert "\n".join(stops) in str(raised.value)
        return
    evaluation = train_run(run, folder, pool=Inline)
    states = {t.state for trials in evaluation.trials.values() for t in trials}
    assert states <= {"complete", "pruned"}, {t.reason for trials in evaluation.trials.values() for t in trials}
    assert evaluation.estimate is None or math.isfinite(evaluation.estimate.value)
    assert evaluation.test is None or math.isfinite(evaluation.test.value)
    said = [*evaluation.context.notes, *(f.message for f in evaluation.context.findings)]
    assert not [text for text in said if _NAN.search(text)]


CHEAP = ("four times", "sealed rows of one class", "six of a class", "twelve rows")
"""The others take a second or two each."""


@pytest.mark.parametrize("case", [c if c in CHEAP else pytest.param(c, marks=pytest.mark.prove) for c in PASSES])
def test_what_check_passes_training_finishes(case: str, tmp_path: Path) -> None:
    run = PASSES[case]()
    assert not stops_of(run)
    agrees(run, tmp_path / "run")


def drawn(seed: int) -> Run:
    """A small table of whatever kind, with whatever settings."""
    draw = np.random.default_rng(seed)
    rows = int(draw.choice([12, 30, 60, 120, 200]))
    data = table(rows, seed)
    place, kind = np.arange(rows), draw.choice(["as is", "late", "early", "rare", "block", "three"])
    cut = int(draw.uniform(0.1, 0.95) * rows)
    data["y"] = {
        "as is": data["y"],
        "late": np.where(place >= cut, "new", "old"),
        "early": np.where((place < cut) & (place % 2 == 0), "new", "old"),
        "rare": np.where(np.isin(place, draw.permutation(rows)[: int(draw.integers(1, 9))]), "new", "old"),
        "block": np.where(np.abs(place - cut) < rows / 10, "new", "old"),
        "three": np.where(place >= cut, "c", data["y"]),
    }[kind]
    data["t"] = data["t"].iloc[place * int(draw.integers(1, rows + 1)) // rows].to_numpy()
    data["g"] = [f"g{i}" for i in place % int(draw.integers(1, 12))]
    data["w"] = np.where(draw.random(rows) < draw.choice([0.0, 0.3, 0.9]), 0.0, 1.0)
    split = {k: v for k, v in (("time", "t"), ("group", "g")) if draw.random() < 0.5}
    split |= {"outer": int(draw.integers(2, 5))} if draw.random() < 0.3 else {}
    split |= {"gap": int(draw.integers(1, 20))} if "time" in split and draw.random() < 0.3 else {}
    used = {*split.values(), *(("w",) if (weigh := draw.random() < 0.3) else ())}
    target = str(draw.choice(["y", "y", "value"]))
    metrics = ["log_loss", "accuracy", "f1_macro"] if target == "y" else ["r2", "mae"]
    more = {"metric": str(draw.choice(metrics))} if draw.random() < 0.5 else {}
    return run_over(
        data, tuple({"t", "g", "w"} - used), target, split=split, **more, **({"weight": "w"} if weigh else {})
    )  # fmt: skip


@pytest.mark.parametrize("seed", [pytest.param(s, marks=[] if s < 3 else [pytest.mark.prove]) for s in range(120)])
def test_they_agree_on_any_small_table(seed: int, tmp_path: Path) -> None:
    agrees(drawn(seed), tmp_path / "run")
