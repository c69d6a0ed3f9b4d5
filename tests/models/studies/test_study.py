"""The inner loop: what is asked depends on what was told and on nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest

from models.data.hashes import derive_seed
from models.families import load_families
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.studies.study import Study, is_hopeless
from models.tuning.goal import Goal, Limit, find_best_trial, make_objective
from models.tuning.optuna_trials import from_optuna, to_optuna
from models.tuning.space import apply_ranges, list_distributions, to_value, walk_space
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial

SHAPE = Shape(500, 12, "binary", 2)
AUC = make_metric(None, "binary", ("a", "b"))
RMSE = make_metric(None, "regression", ())
TUNABLE = [f for f in load_families().values() if f.tunable]
STRATEGIES = [s.name for s in load_strategies().values() if s.available]
SPACES = {f.name: list_distributions(f, SHAPE) for f in TUNABLE}
SLOW = [s.name for s in load_strategies().values() if s.extra == "bayes"]


def study(known, fold="1", metric=AUC, strategy="tpe", seed=0, initial=()) -> Study:
    """A study whose user asked for nine steps in a grid and listed forty configurations."""
    shape = replace(SHAPE, task=metric.task)
    view = View(known, shape, metric, (), seed, seed, configurations=listed(known, shape), steps={"": 9})
    return Study(view, fold, strategy, initial)


def listed(known, shape=SHAPE) -> list[dict]:
    """Forty configurations, as a user might list them."""
    return [
        walk_space(known, shape, lambda n, d, i=i: to_value(d, derive_seed(known.name, i, n) / 2**31)).params
        for i in range(40)
    ]


@cache
def suited(strategy, many=2):
    """Families that the strategy can search: the one with a condition first, then as chance has them."""
    by_chance = sorted(TUNABLE, key=lambda f: (f.name != "linear", derive_seed(strategy, f.name)))
    return list(islice((f for f in by_chance if not study(f, strategy=strategy).unsuited), many))


def _lacks(known):
    return pytest.mark.skip(f"the package {known.package} is missing: {known.install}")


def over_strategies(many=2):
    """Every strategy, each with some families; those that lack their package are skipped, with what brings it."""
    quick = [pytest.param(s, i, id=f"{s}-{i}") for s in STRATEGIES if s not in SLOW for i in range(many)]
    slow = [pytest.param(s, 0, id=s, marks=pytest.mark.prove) for s in STRATEGIES if s in SLOW]
    lacking = [pytest.param(s.name, 0, id=s.name, marks=[pytest.mark.prove, _lacks(s)])
               for s in load_strategies().values() if not s.available]  # fmt: skip
    return pytest.mark.parametrize(("strategy", "place"), quick + slow + lacking)


def family_at(strategy, place):
    if place >= len(suited(strategy)):
        pytest.skip(f"{strategy} can't search so many families")
    return suited(strategy)[place]


def enough(strategy) -> int:
    """Trials in which a strategy shows all that it does."""
    return 9 if strategy in SLOW else 25


def result(trial: Trial) -> Trial:
    """Some outcome that depends on the configuration: of nine trials seven complete, one pruned, one failed."""
    score = 0.5 + derive_seed(sorted(trial.params.items())) / 2**32
    if trial.gradient is not None:  # some slope for each number that is searched in logs, as penalties are
        logs = [name for name, one in trial.distributions.items() if getattr(one, "log", False)]
        trial = replace(trial, gradient={name: derive_seed(name, score) / 2**31 - 0.5 for name in logs})
    if trial.number % 9 == 5:
        return replace(trial, state="failed", reason="no luck")
    if trial.number % 9 == 7:
        return replace(trial, state="pruned", scores=(score,), seconds=0.1)
    if trial.share < 1:
        return replace(trial, state="pruned", scores=(score, score / 2), seconds=trial.share)
    return replace(trial, scores=(score, score / 2), rounds=(10, 21), seconds=1.5, peak_mb=200.0, start=5.0, end=7.0)


def searched(one: Study, trials: int = 25) -> list[Trial]:
    while len(one.told) < trials and (asked := one.ask(trials - len(one.told))):
        one.tell([result(t) for t in asked])
    return one.told


# --- The search ------------------------------------------------------------------------------------------------------


@over_strategies()
def test_the_default_comes_first_and_alone_then_batches(strategy, place):
    known = family_at(strategy, place)
    one = study(known, strategy=strategy)
    first = one.ask()
    assert [t.number for t in first] == [0]
    assert first[0].params.items() <= known.default.items()
    one.tell([result(first[0])])
    second = one.ask()
    assert [t.number for t in second] == [1, 2, 3, 4]
    assert len({str(t.params) for t in [*first, *second]}) == 1 + BATCH
    one.tell([result(t) for t in second])
    third = one.ask(2)
    assert [t.number for t in third] == [5, 6, 7, 8][: len(third)]
    # Parts of a configuration count by their share: no more than were asked for, and no place left empty.
    assert 2 - min(t.share for t in third) < sum(t.share for t in third) <= 2 or len(third) == BATCH


@pytest.mark.parametrize("known", [f for f in load_families().values() if not f.tunable], ids=lambda f: f.name)
def test_a_family_without_a_choice_is_asked_once(known):
    assert len(searched(study(known))) == 1


@pytest.mark.parametrize("known", TUNABLE, ids=lambda f: f.name)
def test_a_family_whose_every_choice_the_user_fixed_is_asked_once(known):
    fixed = apply_ranges(
        known, {name: known.default.get(name, to_value(d, 0.5)) for name, d in SPACES[known.name].items()}, SHAPE
    )
    assert len(searched(study(fixed, strategy="random"))) == 1


@over_strategies()
def test_a_search_taken_up_again_after_any_batch_goes_on_as_if_unbroken(strategy, place):
    known, metric, trials = family_at(strategy, place), RMSE if place % 2 else AUC, enough(strategy)
    whole = searched(study(known, metric=metric, strategy=strategy), trials)
    for told in {1, trials // 8 * 4 + 1, trials - 4}:
        again = study(known, metric=metric, strategy=strategy)
        again.recall([stored(t, metric) for t in whole[:told]])
        assert [(t.params, t.config) for t in searched(again, trials)] == [(t.params, t.config) for t in whole]


def stored(trial: Trial, metric) -> Trial:
    """The trial as a session that begins later finds it: by way of a file of JSON."""
    kept = to_optuna(trial, metric)
    kept.user_attrs = json.loads(json.dumps(kept.user_attrs))
    return from_optuna(kept)


@over_strategies()
def test_what_is_proposed_lies_in_the_users_ranges_and_keeps_to_the_conditions(strategy, place):
    known, shape = family_at(strategy, place), SHAPE
    space = list_distributions(known, shape)
    names = sorted(space, key=lambda n: derive_seed(strategy, n))
    fixed = {n: to_value(space[n], 0.7) for n in names[:1] if len(names) > 2}
    ranges = {n: _half(space[n]) for n in names[:3]} | fixed
    narrow = apply_ranges(known, ranges, shape)
    one = study(narrow, strategy=strategy)
    for trial in searched(one, enough(strategy)):
        allowed = walk_space(narrow, shape, lambda n, d, trial=trial: trial.params[n]).distributions
        assert trial.params.keys() == allowed.keys()
        assert all(d._contains(d.to_internal_repr(trial.params[n])) for n, d in allowed.items())
        assert all(trial.params.get(n, value) == value for n, value in fixed.items())
    assert len({str(t.params) for t in one.told}) > 1


def _half(distribution):
    """The lower half of a range, or the first half of the choices, two at least."""
    if hasattr(distribution, "choices"):
        return list(distribution.choices[: max(2, len(distribution.choices) // 2)])
    return [to_value(distribution, 0.0), to_value(distribution, 0.5)]


@over_strategies(many=1)
def test_a_search_survives_whatever_becomes_of_its_trials(strategy, place):
    one = study(family_at(strategy, place), strategy=strategy)
    states = ("failed", "timeout", "memory", "pruned", "failed")
    while len(one.told) < 13 and (asked := one.ask(13 - len(one.told))):
        one.tell([replace(t, state=states[t.number % 5], scores=(0.5,) * (t.number % 5 == 3)) for t in asked])
    assert len(one.told) >= 13
    assert one.best is None


@over_strategies()
def test_the_order_in_which_a_batch_finished_does_not_matter(strategy, place):
    known, trials = family_at(strategy, place), enough(strategy)
    straight = [(t.params, t.config) for t in searched(study(known, strategy=strategy), trials)]
    one = study(known, strategy=strategy)
    while len(one.told) < trials and (asked := one.ask(trials - len(one.told))):
        one.tell([result(t) for t in reversed(asked)])
    assert [(t.params, t.config) for t in one.told] == straight


@over_strategies()
def test_seeds_search_differently_and_folds_alike_until_they_are_told_otherwise(strategy, place):
    """Folds that draw alike share their fits. The user's own list is followed by all seeds alike. Where a search begins
    with what is known of other tables, or is led by slopes, chance comes later."""
    known, trials = family_at(strategy, place), enough(strategy)
    studies = [study(known, fold, strategy=strategy, seed=seed) for fold, seed in (("1", 0), ("2", 0), ("1", 1))]
    runs = [[dict(t.params) for t in searched(one, trials)] for one in studies]
    assert runs[0] == runs[1]
    assert runs[0][0] == runs[2][0]
    by_hand = all(params in listed(known) for params in runs[0][1:])
    assert (runs[0] == runs[2]) == by_hand


def test_the_sampler_learns_from_what_it_is_told():
    """Else "unbroken" and "resumed" would agree whatever was recalled."""
    known = load_families()["linear"]
    one, other = study(known), study(known)
    while len(one.told) < 21:
        one.tell([replace(t, scores=(1 / (1 + t.params["strength"]),) * 2) for t in one.ask()])
        other.tell([replace(t, scores=(t.params["strength"] / 100,) * 2) for t in other.ask()])
    assert [t.params for t in one.told[:9]] == [t.params for t in other.told[:9]]
    late = [sum(t.params["strength"] for t in s.told[13:]) for s in (one, other)]
    assert late[0] < late[1]


# --- Few trials -------------------------------------------------------------------------------------------------------


def of_four(known, strategy, limited) -> Study:
    """A study of four trials on a table of which parts tell much; the user listed three configurations, and wants the
    smallest grid."""
    large = replace(SHAPE, rows=30_000)
    limits = (Limit(make_objective("size", AUC), 1.0),) if limited else ()
    told = {} if load_strategies()[strategy].chooses else {"configurations": listed(known, large)[:3], "steps": {"": 1}}
    goal = {"goal": Goal(AUC, limits=limits), "limited": limited}
    return Study(View(known, large, AUC, (), 0, 0, expected=4, inner=4, **told, **goal), "1", strategy)


def well(trial: Trial) -> Trial:
    """The trial as it ends well, whatever its number; the default is too large, nothing else is."""
    ended = replace(result(replace(trial, number=0)), number=trial.number)
    return replace(ended, measures={"size": 0.5 if trial.number else 2.0})


@pytest.mark.parametrize("limited", [False, True], ids=["free", "limited"])
@over_strategies(many=1)
def test_four_trials_are_enough_to_find_what_is_no_default(strategy, place, limited):
    known = next(f for f in (load_families()["linear"], *TUNABLE) if not of_four(f, strategy, limited).unsuited)
    one, again = (of_four(known, strategy, limited) for _ in range(2))
    for each in (one, again):
        while asked := each.ask(4 - each.spent):
            each.tell([well(t) for t in asked])
    assert [t.params for t in again.told] == [t.params for t in one.told]
    assert one.spent <= 4 + 1e-9
    others = [t for t in one.told[1:] if t.inner is not None]
    assert others
    assert one.told[0].params.items() <= known.default.items()
    assert one.best is not None
    assert one.best.inner == max(t.inner for t in (others if limited else [*others, one.told[0]]))


# --- Warm starts ------------------------------------------------------------------------------------------------------


def handed(known) -> list[dict]:
    """Three configurations of another search."""
    return [dict(t.params) for t in searched(study(known, fold="9", seed=5), 5)[1:4]]


@over_strategies()
def test_a_warm_study_tries_the_default_then_what_was_handed_over_then_goes_on_by_itself(strategy, place):
    known = family_at(strategy, place)
    one = study(known, strategy=strategy, initial=handed(known))
    searched(one, enough(strategy))
    assert one.told[0].params.items() <= known.default.items()
    assert [dict(t.params) for t in one.told[1:4]] == handed(known)
    assert not any(t.goes_on or t.parent is not None for t in one.told[1:4]), "they come of no trial of this study"
    # Of a space of whole numbers and words a sampler may name a point again.
    assert len({str(t.config) for t in one.told}) >= 0.8 * len(one.told)


@pytest.mark.parametrize("known", suited("tpe"), ids=lambda f: f.name)
def test_a_warm_search_taken_up_again_goes_on_as_if_unbroken(known):
    whole = searched(study(known, initial=handed(known)))
    for told in (1, 5, 21):
        again = study(known, initial=handed(known))
        again.recall([from_optuna(to_optuna(t, AUC)) for t in whole[:told]])
        assert [(t.params, t.config) for t in searched(again)] == [(t.params, t.config) for t in whole]


def test_a_short_warm_study_tries_the_best_of_what_was_handed_over():
    known = load_families()["linear"]
    one = study(known, initial=handed(known))
    assert [dict(t.params) for t in searched(one, 2)][1:] == handed(known)[:1]


# --- Trials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["complete", "pruned", "failed", "timeout", "memory"])
def test_a_trial_is_stored_whole(state):
    scores = {"complete": (0.5, 0.75), "pruned": (0.25,)}.get(state, ())
    asked = study(load_families()["lightgbm"]).ask()[0]
    trial = replace(asked, state=state, scores=scores, rounds=(7,), reason="ä", end=9.5)
    again = from_optuna(to_optuna(trial, AUC))
    assert again == trial
    assert again.distributions == trial.distributions


def test_a_refit_takes_the_mean_of_the_inner_folds_rounds():
    trial = Trial(0, {}, {"learning_rate": 0.1}, scores=(1.0,), rounds=(10, 21, 30))
    assert trial.refit_config == {"learning_rate": 0.1, "rounds": 20}
    assert replace(trial, rounds=()).refit_config == {"learning_rate": 0.1}


def test_only_a_complete_trial_has_an_inner_score():
    assert Trial(0, {}, {}, scores=(0.25, 0.75)).inner == 0.5
    assert Trial(0, {}, {}, "pruned", (0.25,)).inner is None
    assert Trial(0, {}, {}, "failed").inner is None


def test_the_best_is_the_earlier_of_equals_and_never_a_number_that_is_none():
    def trials(*inner):
        states = ["failed" if s is None else "complete" for s in inner]
        return [Trial(i, {}, {}, states[i], () if s is None else (s,)) for i, s in enumerate(inner)]

    assert find_best_trial(trials(0.5, 0.75, 0.75), AUC).number == 1
    assert find_best_trial(trials(0.5, 0.75, 0.25), RMSE).number == 2
    assert find_best_trial(trials(None, float("nan"), 0.1), AUC).number == 2
    assert find_best_trial(trials(None, float("inf")), AUC) is None
    assert find_best_trial([], AUC) is None


@pytest.mark.parametrize(
    ("metric", "scores", "stopped"),
    [
        (AUC, (0.60,), True),
        (AUC, (0.72,), False),
        (AUC, (0.60, 0.90), False),
        (AUC, (0.60, 0.70), True),
        (AUC, (), False),
        (AUC, (0.1, 0.1, 0.1), False),
        (RMSE, (0.60,), False),
        (RMSE, (0.90,), True),
        (RMSE, (0.90, 0.60), False),
    ],
)
def test_a_configuration_is_stopped_when_it_is_worse_than_the_worst_fold_of_the_best(metric, scores, stopped):
    best = Trial(0, {}, {}, scores=(0.7, 0.8, 0.75))
    assert is_hopeless(scores, best, metric) is stopped
    assert not is_hopeless(scores, None, metric)
