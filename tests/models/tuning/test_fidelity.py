"""A part of a trial: which inner folds, which rows, how many rounds."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest

from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting.family import Shape, TrainingData, limit_rounds
from models.fitting.fit import fit_family, suggest_configuration
from models.tuning.fidelity import divide_share, list_shares, reduce_fit

ROWS, ROUNDS, FOLDS = (replace(load_families()["lightgbm"], fidelity=kind) for kind in ("rows", "rounds", "folds"))
"""One family, as if it counted in each."""


def numbered(rows: int = 300, task: str = "multiclass", **about) -> TrainingData:
    """Rows whose first column is their number; classes of 60, 30 and 10 %, or numbers, some rows to stop on."""
    row = np.arange(rows)
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])[row % 10] if task != "regression" else row.astype(float)
    shape = Shape(rows, 1, task, 3 if task != "regression" else 0, time=about.pop("time", False))  # type: ignore[arg-type]
    stop = np.arange(1000, 1040)[:, None].astype(float), np.zeros(40, int), None
    return TrainingData(row[:, None].astype(float), y, row * 2.0, shape, stop=stop, kept={"binned": 1}, **about)


def kept(part: TrainingData, share: float, seed: int = 0) -> np.ndarray:
    """The numbers of the rows that stay."""
    less = reduce_fit(ROWS, {}, part, share, seed)[1]
    rows = less.X[:, 0].astype(int)
    np.testing.assert_array_equal(less.y, part.y[rows])
    np.testing.assert_array_equal(less.weight, rows * 2.0)
    assert part.group is None or np.array_equal(less.group, part.group[rows])  # type: ignore[arg-type]
    assert less.stop is part.stop
    assert less.kept == {}
    assert (np.diff(rows) > 0).all()
    return rows


# --- Which share of what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "inner", "found"),
    [
        (1, 4, (4, 1)), (1 / 3, 4, (1, 1)), (1 / 9, 4, (1, 4 / 9)), (1 / 27, 4, (1, 4 / 27)),
        (1 / 3, 3, (1, 1)), (1 / 9, 3, (1, 1 / 3)), (1, 1, (1, 1)), (1 / 3, 1, (1, 1 / 3)),
        (1 / 3, 2, (1, 2 / 3)), (2 / 3, 3, (2, 1)), (1 / 3, 10, (3, 1)),
    ],
)  # fmt: skip
def test_a_share_of_a_trial_is_first_one_of_its_inner_folds_then_one_of_a_fit(share, inner, found):
    assert divide_share(ROUNDS, share, inner) == pytest.approx(found)
    assert divide_share(FOLDS, share, inner) == (found[0], 1.0)


@pytest.mark.parametrize(("rows", "least"), [(50, 1), (700, 1), (2_300, 2), (7_000, 3), (10**6, 3)])
def test_the_more_rows_there_are_the_less_of_them_tell_enough(rows, least):
    found = list_shares(ROWS, Shape(rows, 5, "binary", 2))
    assert found == (*(3.0**-n for n in range(least, 0, -1)), 1.0)
    assert list_shares(FOLDS, Shape(rows, 5, "binary", 2)) == (1 / 3, 1.0)


@pytest.mark.parametrize("inner", range(1, 11))
@pytest.mark.parametrize("known", [ROWS, ROUNDS, FOLDS], ids=lambda f: f.fidelity)
def test_a_part_of_a_trial_costs_no_more_than_it_counts(known, inner):
    for rows in (50, 2_300, 10**6):
        for share in list_shares(known, Shape(rows, 5, "binary", 2), inner):
            count, part = divide_share(known, share, inner)
            assert count * part / inner <= share + 1e-9


# --- Rows ------------------------------------------------------------------------------------------------------------


def test_a_smaller_share_is_some_of_a_larger_one_and_every_class_keeps_its_part():
    part = numbered()
    third, ninth = kept(part, 1 / 3), kept(part, 1 / 9)
    assert set(ninth) < set(third) < set(range(300))
    assert np.bincount(part.y[third]).tolist() == [60, 30, 10]
    assert np.bincount(part.y[ninth]).tolist() == [20, 10, 4]
    assert set(kept(part, 1 / 3, seed=1)) != set(third)
    assert np.bincount(part.y[kept(part, 1e-6)]).tolist() == [2, 2, 2]
    assert len(kept(numbered(task="regression"), 1 / 3)) == 100


def test_groups_stay_whole_and_every_class_is_there():
    """Twenty groups, each of one class but the last: of the third class there is one group alone."""
    group = np.repeat(np.arange(20), 15)
    part = replace(numbered(group=group), y=np.where(group < 12, 0, np.where(group < 19, 1, 2)))
    before: set[int] = set()
    for share in (1 / 27, 1 / 9, 1 / 3):
        rows = kept(part, share)
        assert len(rows) == 15 * len(set(group[rows]))
        assert set(part.y[rows]) == {0, 1, 2}
        assert before <= set(rows)
        before = set(rows)
    assert len(before) < 200


def test_in_order_of_time_the_latest_rows_stay_and_no_class_is_lost():
    part = numbered(time=True)
    part = replace(part, y=np.where(part.X[:, 0] < 50, 2, part.y % 2))
    assert kept(part, 1 / 3).tolist() == [48, 49, *range(200, 300)]
    assert kept(numbered(task="regression", time=True), 0.1).tolist() == list(range(270, 300))


def test_rows_are_not_touched_where_rounds_or_folds_are_counted():
    part = numbered()
    for known in (ROUNDS, FOLDS):
        less = reduce_fit(known, {"a": 1}, part, 1 / 9, 0)
        assert less[0] == {"a": 1}
        assert less[1].X is part.X
        assert less[1].kept is part.kept
    assert reduce_fit(ROWS, {}, part, 1.0, 0)[1] is part


# --- Rounds ----------------------------------------------------------------------------------------------------------


def test_slow_learners_are_given_more_rounds():
    assert [limit_rounds(1 / 9, 1500, rate) for rate in (0.3, 0.1, 0.02)] == [12, 34, 167]
    assert [limit_rounds(1.0, 1500, rate) for rate in (0.3, 0.02)] == [1500, 1500]
    assert limit_rounds(1e-9, 1500, 0.1) == 1


def easy(known, rows: int = 360) -> TrainingData:
    """Rows that many rounds go on learning from."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(rows, 4))
    y = (np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] > 0).astype(int)
    shape = Shape(300, 4, "binary", 2, grid=(4,), time=known.fidelity != "rows", season=True, many=2, past=2)
    return TrainingData(X[:300], y[:300], None, shape, stop=(X[300:], y[300:], None), season=0, past=(0, 1))


def made(known, part: TrainingData, share: float):
    config = suggest_configuration(known, optuna.trial.FixedTrial(dict(known.default)), part.shape)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_family(known, *reduce_fit(known, config, part, share, 0), derive_seed(known.name), 1)


COUNTING = [f for f in load_families().values() if f.fidelity == "rounds" and f.tunable]


def rounds_of(made) -> int:
    """Rounds that the model has."""
    if made.rounds:
        return made.rounds
    model = made.model[-1] if hasattr(made.model, "steps") else made.model
    return next(
        int(getattr(model, n)) for n in ("tree_count_", "n_iter_", "n_estimators", "n_epochs") if hasattr(model, n)
    )


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(f, id=f.name, marks=[] if f.available else pytest.mark.skip(reason=f"needs extra {f.extra}"))
        for f in COUNTING
    ],
)
def test_without_rows_to_stop_on_a_part_takes_its_share_of_what_the_whole_would(known):
    part = replace(easy(known), stop=None)
    ninth, third = (rounds_of(made(known, part, share)) for share in (1 / 9, 1 / 3))
    assert 3 * (ninth - 1) < third <= 3 * ninth
    if known.most_rounds <= 300:  # networks: the boosters' whole has as many as there may be
        whole = rounds_of(made(known, part, 1.0))
        assert 3 * (third - 1) < whole <= 3 * third


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(f, id=f.name, marks=[] if f.available else pytest.mark.skip(reason=f"needs extra {f.extra}"))
        for f in COUNTING
    ],
)
def test_a_family_that_counts_in_rounds_takes_fewer_and_says_when_more_would_change_nothing(known):
    part = easy(known)
    little, third, whole = (made(known, part, share) for share in (0.02, 1 / 3, 1.0))
    assert (little.rounds or 0) < (whole.rounds or 0)
    assert (little.rounds or 0) <= 0.02 * known.most_rounds + 1
    assert not little.whole
    if third.whole:
        said = [one.model.predict_proba(part.X) for one in (third, whole)]
        np.testing.assert_array_equal(*said)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(f, id=f.name, marks=[] if f.available else pytest.mark.skip(reason=f"needs extra {f.extra}"))
        for f in load_families().values()
        if f.fidelity == "rows" and f.tunable and f.safe
    ],
)
def test_a_family_that_counts_in_rows_learns_from_some(known):
    part = replace(easy(known), stop=None)
    said = [made(known, part, share).model.predict_proba(part.X) for share in (0.1, 1.0)]
    assert said[0].shape == said[1].shape == (300, 2)
    assert np.abs(said[0] - said[1]).max() > 1e-3


def test_every_family_says_what_a_part_of_a_fit_is():
    for known in load_families().values():
        assert known.fidelity in ("rounds", "rows", "folds")
        assert (known.most_rounds > 0) == (known.fidelity == "rounds")
        assert known.fidelity != "rounds" or known.stops_early
