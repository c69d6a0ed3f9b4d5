"""What searches of other tables have taught: configurations of each family that were good on some of them, and which of
them to try first on a table of this shape.

The file beside this one is data, written by `python -m benchmarks.portfolio`. It names the tables that it learned from:
nobody should measure a search on those. Configurations cross over, never scores or anything fitted, so an estimate
stays honest (docs/estimates.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from itertools import chain, islice
from typing import Any

from models.fitting.family import Shape
from models.tuning.space import move_into_range, skip_tried, walk_space
from models.tuning.strategy import BATCH, Proposal, View

FILE = "portfolio.json"
LOG = "log_target"
"""Whether the logarithm of the target is fitted."""


@dataclass(frozen=True)
class LearnedConfiguration:
    """A configuration, and how far from each table's best it was."""

    params: Mapping[str, Any]
    regret: Mapping[str, float]
    """Table -> 0 for the best configuration there was, 1 for one like the median of random ones."""


@dataclass(frozen=True)
class Portfolio:
    """Tables by name, with what is known of their shape, and for each family what was learned on them."""

    tables: Mapping[str, Mapping[str, Any]]
    families: Mapping[str, Sequence[LearnedConfiguration]]
    """The first of each family is its default."""


@cache
def load_portfolio() -> Portfolio:
    """The portfolio that Nestor comes with."""
    content = json.loads((files("models.tuning") / FILE).read_text("utf-8"))
    families = {
        name: tuple(LearnedConfiguration(**fields) for fields in entries)
        for name, entries in content["families"].items()
    }
    return Portfolio(content["tables"], families)


def knows_family(family: str) -> bool:
    """Whether other tables have taught anything about the family."""
    return family in load_portfolio().families


def weigh_table(shape: Shape, table: Mapping[str, Any]) -> float:
    """Weight in (0, 1] of a table for one of this shape: halved for each doubling of rows or columns between them four
    times over, and for another kind of target. Two classes and several count alike: with a weight of their own the
    portfolio was no better on tables left out (`benchmarks/portfolio.py`)."""
    sizes = (max(1, shape.rows) / table["rows"], max(1, shape.columns) / table["columns"])
    distance = sum(abs(math.log2(ratio)) for ratio in sizes)
    mismatch = (shape.task == "regression") != (table["task"] == "regression")
    return 0.5 ** (distance / 4 + mismatch)


def order_greedily(
    configurations: Sequence[LearnedConfiguration], weights: Mapping[str, float], most: int | None = None
) -> list[LearnedConfiguration]:
    """The configurations after the default in the order in which each adds most to those before it: greedy selection by
    the weighted mean, over tables, of the least regret so far (Feurer et al. 2022, Auto-sklearn 2.0, JMLR 23:261)."""
    regrets, rest, order = dict(configurations[0].regret), list(configurations[1:]), []
    while rest and (most is None or len(order) < most):
        configuration = min(rest, key=lambda c: sum(w * min(regrets[t], c.regret[t]) for t, w in weights.items()))
        regrets = {t: min(regret, configuration.regret[t]) for t, regret in regrets.items()}
        rest.remove(configuration)
        order.append(configuration)
    return order


def plan_portfolio(view: View) -> list[Proposal]:
    """A batch: what the portfolio holds for the family and was not tried yet, for the nearest tables first; the sampler
    has what is left."""
    portfolio = load_portfolio()
    configurations = portfolio.families.get(view.family.name, ())
    weights = {name: weigh_table(view.shape, table) for name, table in portfolio.tables.items()}
    order = order_greedily(configurations, weights) if configurations else ()
    scale = _choose_scale(view)
    candidates = (adapt_params(view, {**configuration.params, **scale}) for configuration in order)
    batch = [Proposal(params) for params in islice(skip_tried(view, chain(_list_scales(view), candidates)), BATCH)]
    return [*batch, *[Proposal()] * (BATCH - len(batch))]


def _list_scales(view: View) -> list[dict[str, Any]]:
    """The default on the target's other scale, where there are two: on a long tail no hyperparameter matters as much,
    and what was learned on other tables says nothing of it."""
    default = adapt_params(view, {})
    return [adapt_params(view, {LOG: not default[LOG]})] if LOG in default else []


def _choose_scale(view: View) -> dict[str, bool]:
    """The scale of the best configuration so far, for those to come; none where there is one scale only."""
    scored = [trial for trial in view.told if trial.score is not None and LOG in trial.params]
    return {LOG: max(scored, key=view.ahead).params[LOG]} if scored else {}


def adapt_params(view: View, params: Mapping[str, Any]) -> dict[str, Any]:
    """The params as a configuration of this table: moved into its ranges, what they lack taken from the default."""
    return walk_space(view.family, view.shape, partial(move_into_range, {**view.family.default, **params})).params
