"""Gradient-based search: differentiates the inner validation loss by the hyperparameters and steps to where it falls.

Each trial brings the gradient where it stands, so one batch is a line search: four lengths at once from the best trial.
A hyperparameter's length is that after which its derivative would be zero, judged by the last two (Fahlman 1988,
Quickprop; a secant step), at most twice the last one. What has no derivative (choices, whole numbers) stays as it was;
other choices, and later other places, get starts and a few steps of their own, in half of a batch at most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from optuna.distributions import CategoricalDistribution, FloatDistribution

from models.errors import join_names
from models.families import load_families
from models.tuning.space import make_key, to_place, to_value
from models.tuning.strategy import BATCH, Proposal, Strategy, View, make_random_sampler
from models.tuning.trial import Trial

_FIRST, _MOST, _LEAST = 0.1, 0.4, 0.005
"""Lengths as shares of a range, on its own scale: of a first step, at most, and below which it is there."""

_GROWTH = 2.0

_LENGTHS = (1.0, 2.0, 0.5, 0.25)
"""What is tried from one place, in that order: a slope tells the direction well and the length badly."""

_CHANCES = 4
"""Trials that come of a start that does not lead to the best."""

Slopes = Mapping[str, float]
"""By hyperparameter, for a step over the whole range."""


def _plan(view: View) -> Sequence[Proposal]:
    """Steps with the best choices and, in up to half of the batch, others' starts and steps; where there are no more
    steps to make, starts drawn from the space."""
    ways = _group_by_start(view)
    proposals = (
        []
        if not ways
        else [*islice(_propose_aside(view, ways), BATCH // 2), *_propose_steps(view, _find_best(view, ways[0]))]
    )
    keys, fresh = {make_key(t.params) for t in view.told}, []
    for proposal in proposals:
        if make_key(proposal.params) not in keys:
            keys.add(make_key(proposal.params))
            fresh.append(proposal)
    return (fresh + [Proposal(gradient=True)] * BATCH)[:BATCH]


def _group_by_start(view: View) -> list[list[Trial]]:
    """Trials to step from, by the start that they come of; the way with the best trial first."""
    ways: dict[int, list[Trial]] = {}
    for trial in view.told:
        if trial.gradient and trial.inner is not None and math.isfinite(trial.inner):
            ways.setdefault(_find_start(view, trial), []).append(trial)
    return sorted(ways.values(), key=lambda way: view.ahead(_find_best(view, way)), reverse=True)


def _find_start(view: View, trial: Trial) -> int:
    while trial.parent is not None:
        trial = view.told[trial.parent]
    return trial.number


def _key_fixed(trial: Trial) -> str:
    return make_key({name: value for name, value in trial.params.items() if name not in (trial.gradient or {})})


def _find_best(view: View, way: Sequence[Trial]) -> Trial:
    return max(way, key=view.ahead)


def _propose_aside(view: View, ways: Sequence[Sequence[Trial]]) -> Iterator[Proposal]:
    """The best trial with one choice changed that nobody has tried, then a step for each way that is young."""
    best = _find_best(view, ways[0])
    choices = {n: v for n, v in best.params.items() if isinstance(best.distributions[n], CategoricalDistribution)}
    for name in choices:
        for choice in best.distributions[name].choices:
            changed = {**choices, name: choice}
            if not any(changed.items() <= trial.params.items() for trial in view.told):
                yield Proposal({**best.params, name: choice}, gradient=True)
    for way in ways[1:]:
        if len(way) < _CHANCES:
            yield from islice(_propose_steps(view, _find_best(view, way)), 1)


def _propose_steps(view: View, trial: Trial) -> Iterator[Proposal]:
    """Steps from the trial, of lengths that were not tried from it yet; within the bounds."""
    tried = sum(other.parent == trial.number for other in view.told)
    start, move = _find_places(trial), _choose_move(view, trial)
    for length in _LENGTHS[tried:]:
        target = {name: min(1.0, max(0.0, start[name] + length * by)) for name, by in move.items()}
        if max((abs(target[name] - start[name]) for name in target), default=0.0) >= _LEAST:
            params = {name: to_value(trial.distributions[name], place) for name, place in target.items()}
            yield Proposal({**trial.params, **params}, parent=trial.number, gradient=True)


def _choose_move(view: View, trial: Trial) -> dict[str, float]:
    """By hyperparameter the step of length 1, as a share of its range."""
    slopes, places = _compute_slopes(trial), _find_places(trial)
    parent = None if trial.parent is None else view.told[trial.parent]
    if parent is None or not parent.gradient or _key_fixed(parent) != _key_fixed(trial):
        return {name: -math.copysign(_FIRST, slope) for name, slope in slopes.items()}
    earlier, parent_places = _compute_slopes(parent), _find_places(parent)
    return {
        name: _compute_secant(slope, earlier.get(name, 0.0), places[name] - parent_places.get(name, places[name]))
        for name, slope in slopes.items()
    }


def _compute_secant(slope: float, before: float, step: float) -> float:
    """The move to where the slope would be zero if it went on changing as it did over the last move."""
    if not step or before * step >= 0:  # it did not move, or not by its own slope
        return -math.copysign(abs(step) or _FIRST, slope)
    times = slope / (before - slope) if before != slope else math.inf
    if slope * before > 0 and not 0 < times < _GROWTH:
        times = _GROWTH
    return max(-_MOST, min(_MOST, times * step))


def _compute_slopes(trial: Trial) -> Slopes:
    """The trial's gradient by places in the ranges: by the logarithm where that is searched."""
    slopes = {}
    for name, slope in (trial.gradient or {}).items():
        distribution = trial.distributions[name]
        assert isinstance(distribution, FloatDistribution)
        if distribution.high > distribution.low and slope:
            slopes[name] = slope * (
                trial.params[name] * math.log(distribution.high / distribution.low)
                if distribution.log
                else distribution.high - distribution.low
            )
    return slopes


def _find_places(trial: Trial) -> dict[str, float]:
    return {name: to_place(trial.distributions[name], trial.params[name]) for name in _compute_slopes(trial)}


def _explain_unsuited(view: View) -> str:
    if view.family.hypergradient is None:
        able = [family.name for family in load_families().values() if family.hypergradient]
        return f"its hyperparameters have no derivatives; those of {join_names(able)} have"
    if view.shape.task == "regression" and view.shape.loss != "squared":
        return f"the metric {view.metric.name} asks for a median or a quantile, and derivatives are of squared errors"
    return ""


STRATEGY = Strategy(
    name="gradient",
    suits="penalties of linear models and lengths of kernels, above all many: one for each group of columns",
    cost="about another fit a trial; pays from the first batch on",
    sampler=make_random_sampler,
    plan=_plan,
    unsuited=_explain_unsuited,
    gradient=True,
    source="Pedregosa 2016, ICML (HOAG); Bertrand et al. 2022, JMLR 23:149; steps after Fahlman 1988",
)
