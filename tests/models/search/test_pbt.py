"""Population-based training: who goes on from whom, with what, and for how many rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.families import load_families
from models.fitting.family import Shape
from models.fitting.schedule import count_rounds
from models.metrics.metric import make_metric
from models.studies.study import Study
from models.tuning.goal import Goal, Limit, find_best_trial, make_objective
from models.tuning.space import apply_ranges, list_distributions
from models.tuning.strategy import BATCH, View
from models.tuning.trial import Trial

SHAPE = Shape(500, 12, "binary", 2)
AUC = make_metric(None, "binary", ("a", "b"))
KNOWN = load_families()["lightgbm"]


def study(known=KNOWN, expected: int | None = 1 + 5 * BATCH, seed: int = 0) -> Study:
    return Study(View(known, SHAPE, AUC, (), seed, seed, expected=expected), "1", "pbt")


def scored(trial: Trial, score: float | None) -> Trial:
    if score is None:
        return replace(trial, state="failed", reason="no luck")
    return replace(trial, state="complete", scores=(score, score), rounds=() if trial.number else (40, 60))


def told(one: Study, *scores: float | None) -> list[Trial]:
    """The trials of the next batches with these scores."""
    left = list(scores)
    while left:
        asked = one.ask()
        one.tell([scored(trial, left.pop(0)) for trial in asked])
    return one.told


def explored(trial: Trial) -> dict:
    return {name: trial.params[name] for name in KNOWN.explores}


def test_who_keeps_the_limits_is_stronger_than_who_breaks_them():
    view = View(
        KNOWN, SHAPE, AUC, (), 0, 0, expected=21, goal=Goal(AUC, limits=(Limit(make_objective("size", AUC), 1.0),))
    )
    one = Study(view, "1", "pbt")
    one.tell([replace(scored(one.ask()[0], 0.5), measures={"size": 0.5})])
    sizes = iter((0.5, 2.0, 1.5, 0.5))
    first = [replace(t, measures={"size": next(sizes)}) for t in map(scored, one.ask(), (0.6, 0.9, 0.7, 0.8))]
    one.tell(first)
    assert [t.parent for t in one.ask()[:2]] == [4, 1]


def test_the_strong_go_on_as_they_are_and_the_weak_take_up_their_training_with_other_settings():
    one = study()
    told(one, 0.5, 0.6, 0.9, 0.7, 0.8)
    asked = one.ask()
    assert [t.parent for t in asked[:2]] == [2, 4]
    assert {t.parent for t in asked[2:]} <= {2, 4}
    assert all(t.goes_on for t in asked)
    for trial in asked:
        before = one.told[trial.parent]  # type: ignore[index]
        assert trial.config["steps"][:-1] == before.config["steps"]
        assert trial.config["steps"][-1][1] == explored(trial)
        assert (explored(trial) == explored(before)) is (trial.number in (5, 6))


def test_a_member_whose_score_fell_goes_back_with_other_settings():
    one = study()
    told(one, 0.5, 0.6, 0.9, 0.7, 0.8, 0.85, 0.81, 0.5, 0.5)
    assert one.told[5].parent == 2
    asked = one.ask()
    back = asked[0]
    assert back.parent == 2
    assert len(back.config["steps"]) == 2
    assert explored(back) != explored(one.told[2])


def test_one_to_which_several_members_go_back_is_one_of_the_strong_and_not_all_of_them():
    """Else a single lineage is left of the population. Who goes back to whom is drawn: some seeds show it."""
    several = 0
    for seed in range(8):
        one = study(seed=seed)
        told(one, 0.5, 0.9, 0.8, 0.6, 0.5)
        asked = one.ask()
        back = [t.number for t in asked if t.parent == 1]
        scores = {t.number: 0.7 if t.number in back else 0.75 for t in asked}
        one.tell([scored(t, scores[t.number]) for t in asked])
        if len(back) > 1:
            several += 1
            strong = [t.parent for t in one.ask()[:2]]
            assert len(set(strong)) == 2
            assert strong[0] == 1
    assert several


def test_members_that_failed_are_replaced_and_where_all_did_a_population_begins_anew():
    one = study()
    told(one, 0.5, None, 0.9, None, None)
    assert {t.parent for t in one.ask()} == {2}
    one = study()
    told(one, 0.5, None, None, None, None)
    asked = one.ask()
    assert {t.parent for t in asked} == {None}
    assert len({str(t.params) for t in asked}) == BATCH


def test_no_member_is_stopped_after_some_folds_as_others_may_go_on_from_it():
    one = study()
    told(one, 0.5, 0.6, 0.9, 0.7, 0.8)
    assert [t.stoppable for t in one.told] == [True, False, False, False, False]


def test_a_refit_is_reckoned_with_by_the_rounds_of_the_whole_schedule():
    trial = Trial(9, {}, {"steps": [[30, {}], [10, {}]]}, seconds=2.0)
    assert trial.seconds_anew == 8.0
    assert replace(trial, config={}).seconds_anew == 2.0


def test_the_best_of_all_generations_is_chosen_and_refitted_along_its_own_schedule():
    one = study()
    told(one, 0.5, 0.6, 0.9, 0.7, 0.8, 0.95, 0.8, 0.8, 0.8, 0.6, 0.6, 0.6, 0.6)
    best = find_best_trial(one.told, AUC)
    assert best is not None
    assert best.number == 5
    assert len(best.refit_config["steps"]) == 2


@pytest.mark.parametrize(("expected", "steps"), [(5, 1), (9, 2), (41, 10), (None, 10), (1 + 4 * 30, 15)])
def test_rounds_are_three_times_the_defaults_in_as_many_steps_as_there_are_batches(expected, steps):
    one = study(expected=expected)
    told(one, 0.5, *([0.6, 0.61, 0.62, 0.63] * steps))
    first = one.told[1].config
    assert count_rounds(first) == round(3 * 50 / steps)
    assert one.ask()[0].parent is None, "another population begins"


def test_a_population_covers_the_range_of_every_hyperparameter():
    one = study()
    told(one, 0.5)
    known = list_distributions(KNOWN, SHAPE)["learning_rate"]
    rates = sorted(t.params["learning_rate"] for t in one.ask())
    edges = [known.low * (known.high / known.low) ** (n / BATCH) for n in range(BATCH + 1)]  # type: ignore[attr-defined]
    assert all(low <= rate <= high for low, rate, high in zip(edges, rates, edges[1:], strict=False))


def test_what_does_not_change_while_training_goes_on_is_the_defaults_then_its_parents():
    one = study(load_families()["mlp"])
    told(one, 0.5, 0.6, 0.9, 0.7, 0.8)
    for trial in [*one.told[1:], *one.ask()]:
        assert trial.params["width"] == 128
    assert len({t.params["l2"] for t in one.told}) == 1 + BATCH


def test_families_without_steps_or_without_anything_to_explore_are_not_suited():
    assert study(load_families()["linear"]).unsuited == "it does not train step by step"
    fixed = apply_ranges(KNOWN, {name: KNOWN.default[name] for name in KNOWN.explores}, SHAPE)
    assert "left to be searched" in study(fixed).unsuited
    alone = apply_ranges(KNOWN, {name: KNOWN.default[name] for name in KNOWN.explores if name != "subsample"}, SHAPE)
    assert not study(alone).unsuited
