"""The gate's rule, by simulation: of equally good models few are promoted however often they are tried, a better one
nearly always, and rows that repeat each other make nobody surer."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import lfilter

from models.config import Gate
from models.evaluation.estimate import make_time_blocks
from models.evaluation.gate import FRESH, ModelCost, PublishedScore, Verdict, decide_promotion, score_versions
from models.evaluation.looks import (
    LOOKS,
    compute_look_level,
    compute_lower_bound,
    compute_skewness,
    estimate_likeliest_gain,
)
from models.metrics.metric import make_metric
from models.outcome import Interval

LOSS = make_metric("log_loss", "binary", ("no", "yes"))
AUC = make_metric("roc_auc", "binary", ("no", "yes"))
RMSE = make_metric("rmse", "regression", ())
SIMULATIONS = 80


def odds(of_yes):
    return np.stack([1 - of_yes, of_yes], axis=1)


def noisy(rng, cause, size=1.0):
    """What a model says that sees the cause through a noise of its own."""
    return odds(1 / (1 + np.exp(-(cause + size * rng.normal(size=len(cause))))))


def rows(rng, n, noise=(1.0, 1.0)):
    """A binary target and two models."""
    cause = rng.normal(size=n)
    target = (cause + rng.normal(size=n) > 0).astype(int)
    return target, *[noisy(rng, cause, size) for size in noise]


def clustered(rng, groups, each):
    """Values and two models whose errors go by the group."""
    n, group = groups * each, np.repeat(np.arange(groups), each)
    target = rng.normal(size=n)
    own, other = (rng.normal(size=groups)[group] + 0.3 * rng.normal(size=n) for _ in range(2))
    return target, target + own, target + other, group


def drifting(rng, n, alike=0.6):
    """Values and two models whose losses go on from one row to the next; blocks of time as units."""
    target = rng.normal(size=n)
    errors = lfilter([np.sqrt(1 - alike**2)], [1, -alike], rng.normal(size=(2, n + 50)))[:, 50:]
    return target, target + np.exp(errors[0] / 2), target + np.exp(errors[1] / 2), make_time_blocks(np.arange(n))


def promoted(simulate, metric, gate=None, seeds=SIMULATIONS, **how):
    gate = gate or Gate()
    found = 0
    for seed in range(seeds):
        target, champion, challenger, *units = simulate(np.random.default_rng(seed))
        drawn = units[0] if units else np.arange(len(target))
        found += decide_promotion(metric, target, champion, challenger, drawn, gate, **how).promoted is True
    return found / seeds


def surely(simulate, metric, level=0.95, seeds=SIMULATIONS):
    """How often a gain is surely above 0 at that level."""
    found = 0
    for seed in range(seeds):
        target, champion, challenger, *units = simulate(np.random.default_rng(seed))
        folds = [(target, champion, None), (target, challenger, None)]
        found += (
            score_versions(metric, folds, units[0] if units else np.arange(len(target)), seed).bound_gain(level) > 0
        )
    return found / seeds


def most(level, seeds=SIMULATIONS):
    """A share that chance exceeds once in a thousand times, where the true share is `level`."""
    return level + 3.1 * np.sqrt(level * (1 - level) / seeds)


# --- Law 9: the gate pays for its looks ------------------------------------------------------------------------------


def sequence(seed, fresh):
    """A champion and 20 challengers in turn, as good as it: on the same rows, or on new ones each time."""
    rng = np.random.default_rng(seed)
    for look in range(LOOKS):
        if fresh or look == 0:
            cause = rng.normal(size=200)
            target = (cause + rng.normal(size=200) > 0).astype(int)
            champion = noisy(rng, cause)
        yield target, champion, noisy(rng, cause)


@pytest.mark.parametrize(
    ("fresh", "sequences"), [(False, 20), (True, 8)], ids=["on the same rows", "on new rows each time"]
)
def test_twenty_challengers_that_are_no_better_rarely_succeed_by_chance(fresh, sequences):
    def succeeds(seed):
        looks = enumerate(sequence(seed, fresh), 1)
        return any(decide_promotion(LOSS, *three, np.arange(200), Gate(), look=look).promoted for look, three in looks)

    assert sum(succeeds(seed) for seed in range(sequences)) / sequences <= most(0.05, sequences)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_any_twenty_looks_in_a_row_share_what_the_level_leaves(level):
    risks = [1 - compute_look_level(look, level) for look in range(1, 3 * LOOKS)]
    assert sum(risks[:LOOKS]) == pytest.approx(1 - level)
    assert all(0 < later <= earlier for earlier, later in pairwise(risks))


def test_a_verdict_says_which_level_its_look_has_and_why():
    target, champion, challenger = rows(np.random.default_rng(0), 300)
    verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(300), Gate(), look=4)
    assert (verdict.look, verdict.sure) == (4, compute_look_level(4, 0.95))
    sure = f"{100 * verdict.sure:.4g} %"
    for part in (f"with {sure} confidence", f"Why {sure}: of {LOOKS} challengers", "5 % at most", "challenger 4 of"):
        assert part in verdict.sentence


def test_the_score_to_publish_is_as_good_as_it_says_though_a_look_has_chosen_it():
    """Challengers that are better by about two standard errors: those that pass were lucky by half a one and more."""
    truth = LOSS.score(*rows(np.random.default_rng(99), 200_000, (1.0, 0.6))[::2])
    off = []
    for seed in range(200):
        target, champion, challenger = rows(np.random.default_rng(seed), 200, (1.0, 0.6))
        verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(200), Gate())
        if verdict.promoted:
            score, stands = verdict.published.score, verdict.challenger.value
            off.append((truth - stands, truth - score.value, score.low <= truth <= score.high, stands - score.low))
    naive, honest, held, half = (np.array(part) for part in zip(*off, strict=True))
    error = half.mean() / 1.96
    assert len(off) > 30
    assert naive.mean() > 0.4 * error
    assert abs(honest.mean()) < 0.3 * error
    assert held.mean() >= 0.9


def test_nothing_is_taken_off_where_the_gain_is_beyond_doubt_or_the_rule_has_not_chosen():
    for noise in ((2.0, 0.3), (0.3, 2.0)):
        target, champion, challenger = rows(np.random.default_rng(0), 400, noise)
        verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(400), Gate())
        assert verdict.published.score.value == pytest.approx(verdict.challenger.value, abs=1e-6)
        assert (verdict.published.rows, verdict.published.mark) == (400, "chosen on these rows")


def test_fresh_rows_are_published_where_there_are_enough():
    target, champion, challenger = rows(np.random.default_rng(0), 500, (2.0, 0.3))
    for count in (199, 200):
        fresh = np.arange(500) < count
        verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(500), Gate(), fresh=fresh)
        enough = count == 200
        assert (verdict.published.rows, verdict.published.mark == FRESH) == (count if enough else 500, enough)
        own = LOSS.score(target[fresh], challenger[fresh]) if enough else verdict.challenger.value
        assert verdict.published.score.value == pytest.approx(own, abs=1e-6)


# --- One look --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [LOSS, AUC], ids=["a mean over rows", "a rank metric"])
def test_of_two_equally_good_models_one_in_twenty_is_surely_better_at_most(metric):
    assert 0.01 <= surely(lambda rng: rows(rng, 300), metric) <= most(0.05)


def test_a_model_that_is_mostly_better_and_seldom_very_wrong_gains_nothing_by_it():
    """Its gain on a row leans to the left, so on most samples of two hundred rows it looks better than it is."""
    rng, n = np.random.default_rng(0), 200
    gains = np.exp(0.5) - rng.lognormal(size=(2_000, n))
    alone = (gains.sum(axis=1, keepdims=True) - gains) / (n - 1)
    found = zip(gains.mean(axis=1), gains.std(axis=1) / np.sqrt(n), map(compute_skewness, alone), strict=True)
    bounds = np.array(
        [[compute_lower_bound(m, e, s, n, 0.95), compute_lower_bound(m, e, 0.0, n, 0.95)] for m, e, s in found]
    )
    corrected, students = (bounds > 0).mean(axis=0)
    assert students > 0.08
    assert corrected < 0.075


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_the_level_is_kept_whatever_it_is(level):
    assert surely(lambda rng: rows(rng, 300), LOSS, level) <= most(1 - level)


def test_a_clearly_better_model_is_nearly_always_promoted_and_a_worse_one_never():
    assert promoted(lambda rng: rows(rng, 400, (2.0, 0.3)), LOSS, seeds=40) == 1
    assert promoted(lambda rng: rows(rng, 400, (0.3, 2.0)), LOSS, seeds=40) == 0


@pytest.mark.parametrize("groups", [20, 60])
def test_groups_are_drawn_whole(groups):
    assert surely(lambda rng: clustered(rng, groups, 10), RMSE) <= most(0.05)


def test_drawn_row_by_row_the_same_groups_would_promote_far_too_often():
    assert surely(lambda rng: clustered(rng, 40, 10)[:3], RMSE) > 0.15


def test_blocks_of_time_are_drawn_whole():
    assert surely(lambda rng: drifting(rng, 400), RMSE) <= most(0.05)
    assert surely(lambda rng: drifting(rng, 400, 0.8)[:3], RMSE) > most(0.05)


def test_rows_that_repeat_each_other_make_it_no_surer():
    target, champion, challenger = rows(np.random.default_rng(1), 300, (1.2, 1.0))
    once = decide_promotion(LOSS, target, champion, challenger, np.arange(300), Gate())
    times = np.repeat(np.arange(300), 9)
    nine = decide_promotion(LOSS, target[times], champion[times], challenger[times], times, Gate())
    assert nine.gain.value == pytest.approx(once.gain.value)
    assert nine.gain.low == pytest.approx(once.gain.low)
    assert (nine.rows, nine.units) == (2_700, 300)
    free = decide_promotion(LOSS, target[times], champion[times], challenger[times], np.arange(2_700), Gate())
    assert free.gain.low > once.gain.low + 0.5 * (once.gain.value - once.gain.low)


def test_not_worse_promotes_equals_within_the_margin():
    gate = Gate(rule="not_worse", margin=0.15)
    assert promoted(lambda rng: rows(rng, 400), LOSS, gate, 40) >= 0.9
    assert promoted(lambda rng: rows(rng, 400, (0.5, 1.5)), LOSS, gate, 40) <= 0.05


def test_min_gain_asks_for_more_than_a_better_model():
    better = lambda rng: rows(rng, 400, (2.0, 0.3))  # noqa: E731
    assert promoted(better, LOSS, Gate(min_gain=0.05), 20) == 1
    assert promoted(better, LOSS, Gate(min_gain=2.0), 20) == 0


def test_the_same_model_is_neither_better_nor_worse():
    target, champion, _ = rows(np.random.default_rng(0), 300)
    verdict = decide_promotion(LOSS, target, champion, champion, np.arange(300), Gate())
    assert verdict.promoted is False
    assert verdict.gain == Interval(0, 0)
    assert decide_promotion(
        LOSS, target, champion, champion, np.arange(300), Gate(rule="not_worse", margin=0.01)
    ).promoted


def test_a_gain_is_positive_where_the_challenger_is_better_in_either_direction():
    target, champion, challenger = rows(np.random.default_rng(0), 400, (2.0, 0.3))
    for metric in (LOSS, AUC):
        verdict = decide_promotion(metric, target, champion, challenger, np.arange(400), Gate())
        assert verdict.gain.value > verdict.gain.low > 0
        assert verdict.champion.low < verdict.champion.value < verdict.champion.high


@pytest.mark.parametrize(
    ("size", "unit", "why"), [(199, "row", "199 rows are left"), (19, "group", "19 groups are left")]
)
def test_too_few_rows_or_groups_decide_nothing(size, unit, why):
    n = size if unit == "row" else 400
    target, champion, challenger = rows(np.random.default_rng(0), n, (3.0, 0.1))
    units = np.arange(n) if unit == "row" else np.arange(n) % size
    verdict = decide_promotion(
        LOSS, target, champion, challenger, units, Gate(), unit=unit, costs=(ModelCost(1, 1), ModelCost(2, 2))
    )
    assert verdict.promoted is None
    assert verdict.gain is None
    assert why in verdict.sentence
    assert "the champion stays" in verdict.sentence
    assert verdict.challenger_cost == ModelCost(2, 2)


def test_one_row_and_one_group_more_decide():
    target, champion, challenger = rows(np.random.default_rng(0), 200, (3.0, 0.1))
    assert decide_promotion(LOSS, target, champion, challenger, np.arange(200), Gate()).promoted
    assert decide_promotion(LOSS, target, champion, challenger, np.arange(200) % 20, Gate(), unit="group").promoted


def test_a_metric_that_is_not_defined_decides_nothing():
    _, champion, challenger = rows(np.random.default_rng(0), 300)
    verdict = decide_promotion(AUC, np.zeros(300, int), champion, challenger, np.arange(300), Gate())
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
    costs = (ModelCost(1.0, 1.0), ModelCost(6.0, 2.0))
    verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(400), Gate(**limits), costs=costs)
    assert verdict.promoted is False
    assert verdict.gain.low > 0
    assert words in verdict.sentence
    assert decide_promotion(LOSS, target, champion, challenger, np.arange(400), Gate(), costs=costs).promoted


def test_no_level_may_lose_more_than_the_limit_and_small_levels_do_not_count():
    target, champion, challenger = rows(np.random.default_rng(0), 1_000, (2.0, 0.3))
    level = np.array(["many"] * 700 + ["some"] * 260 + ["few"] * 40, dtype=object)
    for name in ("some", "few"):
        challenger[level == name] = 0.5 - 0.3 * (2 * np.eye(2)[target[level == name]] - 1)
    gate = Gate(subgroup="town", subgroup_loss=0.05)
    verdict = decide_promotion(LOSS, target, champion, challenger, np.arange(1_000), gate, subgroup=level)
    assert [one.name for one in verdict.levels] == ["some", "many"]
    assert verdict.promoted is False
    assert "town = some" in verdict.sentence
    only_few = np.where(level == "some", "few", level)[level != "some"]
    rest = level != "some"
    verdict = decide_promotion(
        LOSS, target[rest], champion[rest], challenger[rest], np.arange(rest.sum()), gate, subgroup=only_few
    )
    assert verdict.promoted


def test_weights_count():
    target, champion, challenger = rows(np.random.default_rng(0), 400, (1.0, 1.0))
    better = (challenger[np.arange(400), target] > champion[np.arange(400), target]).astype(float)
    assert not decide_promotion(LOSS, target, champion, challenger, np.arange(400), Gate()).promoted
    assert decide_promotion(LOSS, target, champion, challenger, np.arange(400), Gate(), weight=0.01 + better).promoted


def test_the_bound_is_students_t_and_lower_where_the_gain_leans_to_the_left():
    # qt(0.95, 9) = 1.8331 in R
    assert compute_lower_bound(1.0, 0.5, 0.0, 10, 0.95) == pytest.approx(1 - 1.8331 * 0.5, abs=1e-4)
    assert compute_lower_bound(1.0, 0.5, 0.0, 10**7, 0.95) == pytest.approx(1 - 1.6449 * 0.5, abs=1e-4)
    bounds = [compute_lower_bound(0.0, 1.0, skew, 300, 0.99) for skew in (0.5, 0.0, -0.02, -0.1, -0.3)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] == bounds[1] > bounds[2] > bounds[4] > -np.inf


def test_the_likeliest_gain_is_where_the_gain_is_expected_among_those_that_pass():
    rng = np.random.default_rng(0)
    for true in (0.0, 1.5, 3.0):
        seen = true + rng.normal(size=400_000)
        mean = seen[seen > 2.5].mean()
        assert estimate_likeliest_gain(mean, 1.0, 2.5, -9.0) == pytest.approx(true, abs=0.06)
        assert 0 <= estimate_likeliest_gain(mean, 1.0, 2.5, 0.0) <= mean


def test_a_verdict_survives_its_json():
    target, champion, challenger = rows(np.random.default_rng(0), 300, (2.0, 0.3))
    verdict = decide_promotion(
        LOSS, target, champion, challenger, np.arange(300), Gate(), costs=(ModelCost(1, 1), ModelCost(1, 1))
    )
    whole = replace(
        verdict, name="loans", champion_version=2, challenger_version=3, uses=4, notes=("A note.",),
        published=PublishedScore(Interval(0.5, 0.4, 0.6), 300, "chosen on these rows, use 4"),
    )  # fmt: skip
    found = whole.as_json()
    assert Verdict.from_json(found) == whole
    for part in ("version 2", "version 3", "300 rows", f"{whole.gain.value:.4f}", "99.34 %", "A note.", "promotes"):
        assert part in found["sentence"]
