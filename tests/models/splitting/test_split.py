"""The plan's laws, over every kind of plan and at every level."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import Run, Split
from models.data.table import Reading, Table
from models.errors import InputError
from models.splitting.split import LEAST, SplitPlan, _split_stop_rows, build_folds, make_split_plan, shares_fits

FIRST = [[2, 4, 6, 9], [0, 1, 3, 11], [5, 7, 8, 10]]
KINDS = ("random", "group", "time", "group_time")


@st.composite
def plans(draw, kinds=KINDS, labels=(True, False)):
    """A plan over 60 to 300 rows with uneven classes, groups and tied times."""
    kind = draw(st.sampled_from(kinds))
    seed = draw(st.integers(0, 10_000))
    rows = draw(st.integers(160 if "time" in kind else 60, 300))
    rng = np.random.default_rng(seed)
    strata = np.minimum(rng.geometric(0.45, rows) - 1, draw(st.integers(1, 5)))
    if "group" in kind:
        keys = rng.integers(0, draw(st.integers(12, 60)), rows)
    else:
        # Some rows repeat the features of others, some of them with another class.
        keys = np.where(rng.random(rows) < 0.2, rng.integers(0, rows, rows), np.arange(rows))
        keys = keys[keys]
        strata = np.where(rng.random(rows) < draw(st.sampled_from([0, 0.5])), strata, strata[keys])
    time = rng.integers(0, draw(st.integers(40, 400)), rows) if "time" in kind else None
    gap = draw(st.integers(0, 6)) if time is not None else 0
    return SplitPlan(kind, keys, strata, time, gap, seed, draw(st.sampled_from(labels)))


def levels(fold):
    """Every pair of sides in a fold; the sides must not touch."""
    return [(fold.train, fold.judge), *fold.inner, *fold.stops]


@given(plans(), st.integers(2, 5), st.sampled_from([1, 2, 4]))
@settings(max_examples=120, deadline=None)
def test_no_key_is_on_two_sides_at_any_level(plan, outer, inner):
    for fold in build_folds(plan, np.arange(len(plan.keys)), outer, inner, True):
        for train, other in levels(fold):
            assert not np.isin(plan.keys[train], plan.keys[other]).any()
            assert (np.diff(train) > 0).all()
            assert (np.diff(other) > 0).all()


@given(plans(), st.integers(2, 5), st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_inner_and_stop_rows_come_from_the_training_part(plan, outer, inner):
    for fold in build_folds(plan, np.arange(0, len(plan.keys)), outer, inner, True):
        assert len(fold.inner) == len(fold.stops)
        for (train, validation), (fit, stop) in zip(fold.inner, fold.stops, strict=True):
            assert len(train)
            assert len(validation)
            assert np.isin(np.concatenate([train, validation]), fold.train).all()
            assert np.isin(np.concatenate([fit, stop]), train).all()
            assert len(fit)


@given(plans(kinds=("random", "group")), st.integers(3, 6), st.sampled_from([2, 3, 4, 5]))
@settings(max_examples=120, deadline=None)
def test_folds_that_share_fits_see_neither_ones_rows(plan, outer, inner):
    """Where fold k is judged on B_j inside, fold j is on B_k, and what both are fitted on holds neither."""
    folds = {fold.name: fold for fold in build_folds(plan, np.arange(len(plan.keys)), outer, inner, False)}
    if not shares_fits(outer, inner):
        assert not any(fold.partners for fold in folds.values())
    for fold in folds.values():
        for j, name in enumerate(fold.partners):
            partner = folds[name]
            mirror = partner.partners.index(fold.name)
            (train, judge), (other_train, other_judge) = fold.inner[j], partner.inner[mirror]
            assert train.tolist() == other_train.tolist()
            assert (judge.tolist(), other_judge.tolist()) == (partner.judge.tolist(), fold.judge.tolist())
            assert all(np.array_equal(*rows) for rows in zip(fold.stops[j], partner.stops[mirror], strict=True))
            assert fold.identify_part(j) == partner.identify_part(mirror)
            assert not np.isin(train, np.concatenate([fold.judge, partner.judge])).any()
        assert len(set(fold.partners)) == len(fold.partners)


def test_many_rows_share_fits_and_the_first_splits_share_most():
    rows = np.arange(300)
    for outer, inner, first in ((5, 4, 3), (5, 2, 3), (4, 3, 2), (10, 4, 6)):
        folds = build_folds(SplitPlan("random", rows, None, None, 0, 1), rows, outer, inner, False)
        assert all(len(fold.partners) == inner for fold in folds)
        assert len({fold.identify_part(0) for fold in folds}) == first


@given(plans(kinds=("time", "group_time")), st.integers(2, 5))
@settings(max_examples=80, deadline=None)
def test_time_trains_before_it_judges_with_the_gap_left_out(plan, outer):
    rows = np.arange(len(plan.keys))
    for fold in build_folds(plan, rows, outer, 3, True):
        wholes = [rows, *(fold.train for _ in fold.inner), *(train for train, _ in fold.inner)]
        for whole, (train, other) in zip(wholes, levels(fold), strict=True):
            if not len(other):
                continue
            assert plan.time[train].max() < plan.time[other].min()
            between = (plan.time[whole] > plan.time[train].max()) & (plan.time[whole] < plan.time[other].min())
            assert between.sum() >= plan.gap or plan.kind == "group_time"


@given(plans(kinds=("random", "group")), st.integers(2, 6))
@settings(max_examples=120, deadline=None)
def test_every_row_is_judged_once_but_for_rare_classes(plan, wanted):
    rows = np.arange(len(plan.keys))
    count, rare = plan.count_folds(rows, wanted)
    pairs = plan.divide(rows, wanted)
    assert len(pairs) == count
    judged = np.sort(np.concatenate([judge for _, judge in pairs]))
    held_back = np.isin(plan.keys, plan.keys[np.isin(plan.strata, rare)]) if rare else np.zeros(len(rows), bool)
    assert judged.tolist() == rows[~held_back].tolist()
    for train, judge in pairs:
        assert sorted([*train, *judge]) == rows.tolist()


@given(plans(kinds=("random", "group"), labels=(True,)), st.integers(2, 6))
@settings(max_examples=120, deadline=None)
def test_every_class_with_two_keys_is_in_every_training_part(plan, wanted):
    for fold in build_folds(plan, np.arange(len(plan.keys)), wanted, 3, True):
        for train, other in levels(fold):
            both = np.concatenate([train, other])
            for code in np.unique(plan.strata[both]):
                if len(np.unique(plan.keys[both][plan.strata[both] == code])) >= 2:
                    assert code in plan.strata[train]


@given(plans(kinds=("random",), labels=(True,)), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_classes_of_fewer_than_four_keys_are_never_judged(plan, wanted):
    rows = np.arange(len(plan.keys))
    keys_of = {c: len(np.unique(plan.keys[plan.strata == c])) for c in np.unique(plan.strata)}
    common = [c for c, n in keys_of.items() if n >= LEAST]
    if len(common) < 2:
        return
    judged = np.concatenate([judge for _, judge in plan.divide(rows, wanted)])
    assert set(plan.strata[judged]) == set(common)
    assert len(plan.divide(rows, wanted)) == min(wanted, min(keys_of[c] for c in common))


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_a_fold_does_inside_depends_on_its_training_rows_alone(plan, random):
    """The exchange law: keys, strata and times of judged rows may be anything; inner splits stay."""
    work = np.arange(len(plan.keys))
    for number, fold in enumerate(build_folds(plan, work, 3, 3, False)):
        order = list(fold.judge)
        random.shuffle(order)
        changed = {}
        for name in ("keys", "strata", "time"):
            column = getattr(plan, name)
            if column is not None:
                changed[name] = column.copy()
                changed[name][fold.judge] = column[order]
        changed["keys"][fold.judge] += 1000
        other = SplitPlan(**{**vars(plan), **changed})
        again = other.divide(fold.train, 3, "inner", fold.name)
        assert len(again) == len(fold.inner)
        for (a, b), (c, d) in zip(again, fold.inner, strict=True):
            assert a.tolist() == c.tolist()
            assert b.tolist() == d.tolist()
        stop = _split_stop_rows(other, fold.inner[0][0], fold.name, 0)
        assert stop[1].tolist() == fold.stops[0][1].tolist()
        assert number < 3


@given(plans(kinds=("random", "group")))
@settings(max_examples=40, deadline=None)
def test_codes_are_names_only(plan):
    """Other numbers for the same keys (other tables' order of levels) change nothing."""
    rows = np.arange(len(plan.keys))
    other = SplitPlan(**{**vars(plan), "keys": (plan.keys * 7919 + 13) % 100_003})
    for (_, a), (_, b) in zip(plan.divide(rows, 4, "x"), other.divide(rows, 4, "x"), strict=True):
        assert a.tolist() == b.tolist()


def test_the_same_seed_and_salt_give_the_same_folds_for_ever():
    plan = SplitPlan("random", np.arange(12), None, None, 0, 7)
    assert [judge.tolist() for _, judge in plan.divide(np.arange(12), 3, "outer")] == FIRST
    other = plan.divide(np.arange(12), 3, "inner")
    assert [judge.tolist() for _, judge in other] != FIRST


@given(plans(kinds=("random",), labels=(False,)), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_random_folds_are_even_in_size_and_strata(plan, count):
    plan = SplitPlan("random", np.arange(len(plan.keys)), plan.strata, None, 0, plan.seed, False)
    held = [judge for _, judge in plan.divide(np.arange(len(plan.keys)), count)]
    for per in ([len(h) for h in held], *([(plan.strata[h] == c).sum() for h in held] for c in np.unique(plan.strata))):
        assert max(per) - min(per) <= 1


def test_groups_are_balanced_in_size_and_class():
    rng = np.random.default_rng(0)
    sizes = rng.geometric(0.02, 120)
    keys = np.repeat(np.arange(120), sizes)
    strata = (rng.random(len(keys)) < np.repeat(rng.beta(1, 3, 120), sizes)).astype(int)
    plan = SplitPlan("group", keys, strata, None, 0, 0)
    pairs = plan.divide(np.arange(len(keys)), 5)
    shares = [strata[judge].mean() for _, judge in pairs]
    assert max(len(j) for _, j in pairs) < 1.1 * min(len(j) for _, j in pairs)
    assert max(shares) - min(shares) < 0.03


def test_holding_out_takes_about_the_share():
    plan = SplitPlan("random", np.arange(1000), np.arange(1000) % 3, None, 0, 0)
    for share in (0.1, 0.15, 0.2, 0.5):
        assert len(plan.hold_out(np.arange(1000), share)[1]) == pytest.approx(1000 * share, rel=0.06)
    time = SplitPlan("time", np.arange(1000), None, np.arange(1000), 0, 0)
    assert time.hold_out(np.arange(1000), 0.2)[1].tolist() == list(range(800, 1000))


def test_where_nothing_may_be_separated_there_are_no_stop_rows():
    one = SplitPlan("group", np.zeros(50, int), np.arange(50) % 2, None, 0, 0)
    train, stop = one.hold_out(np.arange(50), 0.15)
    assert len(train) == 50
    assert not len(stop)
    with pytest.raises(InputError, match="can't be divided"):
        one.divide(np.arange(50), 5)
    with pytest.raises(InputError, match="can't be divided"):
        SplitPlan("time", np.arange(50), None, np.zeros(50), 0, 0).divide(np.arange(50), 5)


def test_stores_open_throughout_leave_rows_to_train_on():
    time = np.repeat(np.arange(100), 10)
    plan = SplitPlan("group_time", np.tile(np.arange(10), 100), None, time, 0, 0, False)
    folds = build_folds(plan, np.arange(1000), 5, 3, True)
    assert len(folds) == 6
    assert all(len(fold.train) > 100 for fold in folds)
    assert len({key for fold in folds for key in plan.keys[fold.judge]}) >= 5


def test_two_scarce_classes_are_still_judged():
    """With one class of three keys, folds without it would measure nothing: it is judged in three folds."""
    plan = SplitPlan("random", np.arange(40), (np.arange(40) < 3).astype(int), None, 0, 0)
    assert plan.count_folds(np.arange(40), 5) == (3, ())
    assert all(len(np.unique(plan.strata[judge])) == 2 for _, judge in plan.divide(np.arange(40), 5))


# --- Plans of tables -------------------------------------------------------------------------------------------------


def table(features, target, **extra):
    frame = pd.DataFrame(features)
    reading = Reading("here", "frame", kinds=dict.fromkeys(frame.columns, "number"))
    target = np.asarray(target)
    regression = target.dtype.kind == "f"
    classes = () if regression else tuple(f"c{c}" for c in np.unique(target))
    task = "regression" if regression else "binary" if len(classes) == 2 else "multiclass"
    return Table("t", frame, target, task, classes, reading, "f", **extra)


def run(**split):
    return Run(data="x.csv", split=Split(**split))


def test_copies_are_joined_and_it_is_said():
    x = np.r_[np.arange(90.0), np.arange(10.0)]
    plan, findings = make_split_plan(table({"x": x}, np.arange(100) % 2), run())
    assert (plan.keys[:10] == plan.keys[90:]).all()
    assert len(np.unique(plan.keys)) == 90
    assert "stay together" in " ".join(f.message for f in findings)


@pytest.mark.parametrize(
    ("settings_", "extra", "distinct", "said"),
    [
        ({"copies": "apart"}, {}, 90, "setting"),
        ({}, {"ids": pd.DataFrame({"id": [str(i) for i in range(100)]})}, 90, "id columns"),
        ({}, {}, 8, "8 points"),
    ],
)
def test_copies_stand_alone_where_names_chance_or_the_setting_say_so(settings_, extra, distinct, said):
    x = np.arange(100.0) % distinct
    plan, findings = make_split_plan(table({"x": x}, np.arange(100) % 2, **extra), run(**settings_))
    assert len(np.unique(plan.keys)) == 100
    assert said in " ".join(f.message for f in findings)


def test_rows_with_equal_features_are_one_point_whatever_their_targets():
    x = np.r_[np.arange(90.0), np.arange(10.0)]
    plan, _ = make_split_plan(table({"x": x}, np.r_[np.zeros(90, int), np.ones(10, int)]), run())
    assert len(np.unique(plan.keys)) == 90


def test_the_setting_joins_copies_that_chance_would_explain():
    plan, _ = make_split_plan(table({"x": np.arange(100.0) % 8}, np.arange(100) % 2), run(copies="together"))
    assert len(np.unique(plan.keys)) == 8


def test_kinds_follow_from_group_and_time():
    some = np.arange(60)
    for group, time, kind in [
        (None, None, "random"),
        (some % 6, None, "group"),
        (None, some, "time"),
        (some % 6, some, "group_time"),
    ]:
        plan, findings = make_split_plan(
            table({"x": some * 1.0}, some * 1.0, group=group, time=time), run(group="g", time="t")
        )
        assert plan.kind == kind
        assert findings[0].check == "split_plan"
        assert np.bincount(plan.strata).tolist() == [12] * 5


def test_two_groups_are_too_few():
    some = np.arange(60)
    _, findings = make_split_plan(table({"x": some * 1.0}, some * 1.0, group=some % 2), run(group="g"))
    assert findings[0].verdict == "stop"
    assert "at least 3" in findings[0].message


def test_rare_classes_are_named():
    target = np.r_[np.arange(96) % 2, 2, 2]
    _, findings = make_split_plan(table({"x": np.arange(98.0)}, target), run())
    assert [f.message for f in findings if f.check == "rare_classes"] == [
        "These classes have too few rows to be judged, so they only train: c2."
    ]


def test_rows_without_a_group_are_groups_of_their_own():
    group = np.r_[np.arange(50) % 5, np.full(10, -1)]
    plan, _ = make_split_plan(table({"x": np.arange(60.0)}, np.arange(60.0), group=group), run(group="g"))
    assert len(np.unique(plan.keys)) == 15


def test_early_stopping_never_leaves_one_class_to_fit():
    """A class that comes late: what is held out to stop by would take all of it."""
    time = np.arange(100)
    plan = SplitPlan("time", time, (time >= 30).astype(int), time, 0, 0)
    (fold,) = build_folds(plan, time, 0, 5, True)
    for (train, _), (fit, stop) in zip(fold.inner, fold.stops, strict=True):
        assert len(np.unique(plan.strata[fit])) == len(np.unique(plan.strata[train]))
        assert len(stop) == 0 or len(fit) < len(train)
    assert any(len(stop) == 0 for _, stop in fold.stops)
    assert any(len(stop) for _, stop in fold.stops)
