"""The gate's rule, by simulation: two equally good models are rarely promoted, a better one nearly always, and rows
that repeat each other make nobody surer."""

import numpy as np
import pytest

from models.config import Gate
from models.estimate import time_blocks
from models.gate import Cost, Published, Verdict, decide, lower_bound
from models.metric import metric_for
from models.outcome import Interval

LOSS = metric_for("log_loss", "binary", ("no", "yes"))
AUC = metric_for("roc_auc", "binary", ("no", "yes"))
RMSE = metric_for("rmse", "regression", ())
SIMULATIONS = 250


def odds(of_yes):
    return np.stack([1 - of_yes, of_yes], axis=1)


def rows(rng, n, noise=(1.0, 1.0)):
    """A binary target and two models that each see its cause through a noise of their own."""
    cause = rng.normal(size=n)
    target = (cause + rng.normal(size=n) > 0).astype(int)
    return target, *[odds(1 / (1 + np.exp(-(cause + size * rng.normal(size=n))))) for size in noise]


def clustered(rng, groups, each):
    """Values and two models whose errors go by the group."""
    n, group = groups * each, np.repeat(np.arange(groups), each)
    target = rng.normal(size=n)
    own, other = (rng.normal(size=groups)[group] + 0.3 * rng.normal(size=n) for _ in range(2))
    return target, target + own, target + other, group


def drifting(rng, n, alike=0.6):
    """Values and two models whose losses go on from one row to the next; blocks of time as units."""
    target = rng.normal(size=n)
    errors = rng.normal(size=(2, n))
    for i in range(1, n):
        errors[:, i] = alike * errors[:, i - 1] + np.sqrt(1 - alike**2) * errors[:, i]
    return target, target + np.exp(errors[0] / 2), target + np.exp(errors[1] / 2), time_blocks(np.arange(n))


def promoted(simulate, metric, gate=None, seeds=SIMULATIONS, **how):
    gate = gate or Gate()
    found = 0
    for seed in range(seeds):
        target, champion, challenger, *units = simulate(np.random.default_rng(seed))
        drawn = units[0] if units else np.arange(len(target))
        found += decide(metric, target, champion, challenger, drawn, gate, **how).promoted is True
    return found / seeds


def most(level, seeds=SIMULATIONS):
    """A share that chance exceeds once in a thousand times, where the true share is `level`."""
    return level + 3.1 * np.sqrt(level * (1 - level) / seeds)


@pytest.mark.parametrize("metric", [LOSS, AUC], ids=["a mean over rows", "a rank metric"])
def test_of_two_equally_good_models_one_in_twenty_challengers_is_promoted_at_most(metric):
    share = promoted(lambda rng: rows(rng, 300), metric)
    assert 0.01 <= share <= most(0.05)


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_level_is_kept_whatever_it_is(level):
    assert promoted(lambda rng: rows(rng, 300), LOSS, Gate(level=level)) <= most(1 - level)


def test_a_clearly_better_model_is_nearly_always_promoted_and_a_worse_one_never():
    assert promoted(lambda rng: rows(rng, 400, (2.0, 0.3)), LOSS, seeds=100) >= 0.99
    assert promoted(lambda rng: rows(rng, 400, (0.3, 2.0)), LOSS, seeds=100) == 0


@pytest.mark.parametrize("groups", [20, 60])
def test_groups_are_drawn_whole(groups):
    assert promoted(lambda rng: clustered(rng, groups, 10), RMSE, unit="group") <= most(0.05)


def test_drawn_row_by_row_the_same_groups_would_promote_far_too_often():
    assert promoted(lambda rng: clustered(rng, 40, 10)[:3], RMSE, seeds=100) > 0.15


def test_blocks_of_time_are_drawn_whole():
    assert promoted(lambda rng: drifting(rng, 400), RMSE, unit="block") <= most(0.05)
    assert promoted(lambda rng: drifting(rng, 400)[:3], RMSE) > most(0.05)


def test_rows_that_repeat_each_other_make_it_no_surer():
    target, champion, challenger = rows(np.random.default_rng(1), 300, (1.2, 1.0))
    once = decide(LOSS, target, champion, challenger, np.arange(300), Gate())
    times = np.repeat(np.arange(300), 9)
    nine = decide(LOSS, target[times], champion[times], challenger[times], times, Gate())
    assert nine.gain.value == pytest.approx(once.gain.value)
    assert nine.gain.low == pytest.approx(once.gain.low)
    assert (nine.rows, nine.units) == (2_700, 300)
    free = decide(LOSS, target[times], champion[times], challenger[times], np.arange(2_700), Gate())
    assert free.gain.low > once.gain.low + 0.5 * (once.gain.value - once.gain.low)


def test_not_worse_promotes_equals_within_the_margin():
    gate = Gate(rule="not_worse", margin=0.15)
    assert promoted(lambda rng: rows(rng, 400), LOSS, gate, 100) >= 0.95
    assert promoted(lambda rng: rows(rng, 400, (0.5, 1.5)), LOSS, gate, 100) <= 0.05


def test_min_gain_asks_for_more_than_a_better_model():
    better = lambda rng: rows(rng, 400, (2.0, 0.3))  # noqa: E731
    assert promoted(better, LOSS, Gate(min_gain=0.05), 50) >= 0.98
    assert promoted(better, LOSS, Gate(min_gain=2.0), 50) == 0


def test_the_same_model_is_neither_better_nor_worse():
    target, champion, _ = rows(np.random.default_rng(0), 300)
    verdict = decide(LOSS, target, champion, champion, np.arange(300), Gate())
    assert verdict.promoted is False
    assert verdict.gain == Interval(0, 0)
    assert decide(LOSS, target, champion, champion, np.arange(300), Gate(rule="not_worse", margin=0.01)).promoted


def test_a_gain_is_positive_where_the_challenger_is_better_in_either_direction():
    target, champion, challenger = rows(np.random.default_rng(0), 400, (2.0, 0.3))
    for metric in (LOSS, AUC):
        verdict = decide(metric, target, champion, challenger, np.arange(400), Gate())
        assert verdict.gain.value > verdict.gain.low > 0
        assert verdict.champion.low < verdict.champion.value < verdict.champion.high


@pytest.mark.parametrize(
    ("size", "unit", "why"), [(199, "row", "199 rows are left"), (19, "group", "19 groups are left")]
)
def test_too_few_rows_or_groups_decide_nothing(size, unit, why):
    n = size if unit == "row" else 400
    target, champion, challenger = rows(np.random.default_rng(0), n, (3.0, 0.1))
    units = np.arange(n) if unit == "row" else np.arange(n) % size
    verdict = decide(LOSS, target, champion, challenger, units, Gate(), unit=unit, costs=(Cost(1, 1), Cost(2, 2)))
    assert verdict.promoted is None
    assert verdict.gain is None
    assert why in verdict.sentence
    assert "the champion stays" in verdict.sentence
    assert verdict.challenger_cost == Cost(2, 2)


def test_one_row_and_one_group_more_decide():
    target, champion, challenger = rows(np.random.default_rng(0), 200, (3.0, 0.1))
    assert decide(LOSS, target, champion, challenger, np.arange(200), Gate()).promoted
    assert decide(LOSS, target, champion, challenger, np.arange(200) % 20, Gate(), unit="group").promoted


def test_a_metric_that_is_not_defined_decides_nothing():
    _, champion, challenger = rows(np.random.default_rng(0), 300)
    verdict = decide(AUC, np.zeros(300, int), champion, challenger, np.arange(300), Gate())
    assert verdict.promoted is None
    assert "roc_auc" in verdict.sentence


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"latency": 5.0}, "takes 6.0000 ms for one row, and 5 ms are allowed"),
        ({"size": 1.5}, "has 2.0000 MB on disk, and 1.5 MB are allowed"),
    ],
)
def test_a_limit_that_is_broken_keeps_the_champion_and_says_so(limits, words):
    target, champion, challenger = rows(np.random.default_rng(0), 400, (2.0, 0.3))
    costs = (Cost(1.0, 1.0), Cost(6.0, 2.0))
    verdict = decide(LOSS, target, champion, challenger, np.arange(400), Gate(**limits), costs=costs)
    assert verdict.promoted is False
    assert verdict.gain.low > 0
    assert words in verdict.sentence
    assert decide(LOSS, target, champion, challenger, np.arange(400), Gate(), costs=costs).promoted


def test_no_level_may_lose_more_than_the_limit_and_small_levels_do_not_count():
    target, champion, challenger = rows(np.random.default_rng(0), 1_000, (2.0, 0.3))
    level = np.array(["many"] * 700 + ["some"] * 260 + ["few"] * 40, dtype=object)
    for name in ("some", "few"):
        challenger[level == name] = 0.5 - 0.3 * (2 * np.eye(2)[target[level == name]] - 1)
    gate = Gate(subgroup="town", subgroup_loss=0.05)
    verdict = decide(LOSS, target, champion, challenger, np.arange(1_000), gate, subgroup=level)
    assert [one.name for one in verdict.levels] == ["some", "many"]
    assert verdict.promoted is False
    assert "town = some" in verdict.sentence
    only_few = np.where(level == "some", "few", level)[level != "some"]
    rest = level != "some"
    verdict = decide(
        LOSS, target[rest], champion[rest], challenger[rest], np.arange(rest.sum()), gate, subgroup=only_few
    )
    assert verdict.promoted


def test_weights_count():
    target, champion, challenger = rows(np.random.default_rng(0), 400, (1.0, 1.0))
    better = (challenger[np.arange(400), target] > champion[np.arange(400), target]).astype(float)
    assert not decide(LOSS, target, champion, challenger, np.arange(400), Gate()).promoted
    assert decide(LOSS, target, champion, challenger, np.arange(400), Gate(), weight=0.01 + better).promoted


def test_the_bound_is_the_smaller_of_percentile_and_students_t():
    drawn = np.random.default_rng(0).normal(1.0, 0.5, 20_000)
    many = lower_bound(1.0, drawn, 10_000, 0.95)
    assert many == pytest.approx(1 - 1.645 * 0.5, abs=0.02)
    # qt(0.95, 9) = 1.8331 in R; the bootstrap's deviation is small by sqrt(9/10)
    few = 1 - 1.8331 * drawn.std(ddof=1) * np.sqrt(10 / 9)
    assert lower_bound(1.0, drawn, 10, 0.95) == pytest.approx(few, abs=1e-3)


def test_a_verdict_survives_its_json():
    target, champion, challenger = rows(np.random.default_rng(0), 300, (2.0, 0.3))
    verdict = decide(LOSS, target, champion, challenger, np.arange(300), Gate(), costs=(Cost(1, 1), Cost(1, 1)))
    from dataclasses import replace

    whole = replace(
        verdict, name="loans", champion_version=2, challenger_version=3, uses=4, notes=("A note.",),
        published=Published(Interval(0.5, 0.4, 0.6), 300, "chosen on these rows, use 4"),
    )  # fmt: skip
    found = whole.as_json()
    assert Verdict.from_json(found) == whole
    for part in ("version 2", "version 3", "300 rows", f"{whole.gain.value:.4f}", "95 %", "A note.", "promotes"):
        assert part in found["sentence"]
