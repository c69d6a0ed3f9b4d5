"""What a default fit of each family costs, foretold from the table's shape before any is made.

The file beside this one is data, written by `python -m benchmarks.costs`: for each family a formula of seconds and one
of megabytes. Seconds are core-seconds of the machine that it was measured on; this machine's own first fits tell how
much quicker or slower it is (`estimate_speed`). Only the order of work hangs on it, never a score."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from models.data.table import Task

FILE = "costs.json"

_MACHINES = 0.5
"""Spread of the logarithm of machines' speed: two of three are between 0.6 and 1.6 times the one measured on."""

_USUAL = (0.0, 0.9, 0.5, 0.5, 0.0)
"""What exponents (of 1, rows, columns, classes, regression) are drawn to where tables say little, and how much."""
_DRAWN = (0.02, 0.5, 1.0, 1.0, 0.7)


@dataclass(frozen=True)
class Work:
    """What a fit is made on: rows of the training part and columns as they are prepared for the family."""

    rows: int
    columns: int
    task: Task
    classes: int = 0


@dataclass(frozen=True)
class CostModel:
    """floor + exp(scale) rows^r columns^c classes^k, and in regression times exp(regression)."""

    scale: float
    rows: float
    columns: float
    classes: float
    regression: float
    floor: float
    spread: float = 0.0
    """Root mean square of the logarithm of measured over foretold, on tables that the formula did not know."""

    def foretell(self, work: Work) -> float:
        """What the formula says for this work."""
        terms = (self.scale, self.rows, self.columns, self.classes, self.regression)
        return self.floor + math.exp(sum(term * value for term, value in zip(terms, _list_terms(work), strict=True)))


@cache
def load_costs() -> Mapping[str, Mapping[str, CostModel]]:
    """Family -> its formulas, of `seconds` and of `mb`, that Nestor comes with."""
    content = json.loads((files("models.tuning") / FILE).read_text("utf-8"))
    return {
        name: {what: CostModel(**terms) for what, terms in models.items()}
        for name, models in content["families"].items()
    }


def foretell_seconds(family_name: str, work: Work) -> float | None:
    """Core-seconds of the family's default fit on the machine measured on; None for a family that was not measured."""
    models = load_costs().get(family_name)
    return None if models is None else models["seconds"].foretell(work)


def foretell_mb(family_name: str, work: Work) -> float | None:
    """Megabytes of the default's model with its columns; None for a family that was not measured."""
    models = load_costs().get(family_name)
    return None if models is None else models["mb"].foretell(work)


def estimate_speed(fits: Iterable[tuple[str, float, float]]) -> float:
    """By how much fits take longer here than foretold, from first ones: (family, seconds foretold, seconds measured).
    Each counts as far as its family's formula can be trusted; none leave it at 1."""
    weight, total = 1 / _MACHINES**2, 0.0
    for name, foretold, measured in fits:
        trust = 1 / max(0.2, load_costs()[name]["seconds"].spread) ** 2
        weight, total = weight + trust, total + trust * math.log(max(1e-3, measured) / foretold)
    return math.exp(total / weight)


def _list_terms(work: Work) -> tuple[float, ...]:
    """What the exponents belong to. Two classes cost what one number does."""
    regression = work.task == "regression"
    classes = math.log(work.classes / 2) if work.classes > 2 else 0.0
    return 1.0, math.log(max(1, work.rows) / 1000), math.log(max(1, work.columns) / 10), classes, float(regression)


def fit_cost_model(work: Sequence[Work], costs: Sequence[float], stopped: Sequence[bool] = ()) -> CostModel:
    """The formula that is nearest to these measured costs, by the logarithm of their ratio and without much heed to
    the farthest; more never costs less. Of what was `stopped` only so much is known that it costs more."""
    from scipy.optimize import least_squares

    is_stopped = np.array(stopped or [False] * len(work))

    terms, logs = np.array([_list_terms(one) for one in work]), np.log(np.asarray(costs))
    usual, drawn = np.array(_USUAL), np.array(_DRAWN)
    usual[0] = np.median(logs)

    def compare(values: np.ndarray) -> np.ndarray:
        foretold = np.log(np.exp(values[5]) + np.exp(terms @ values[:5]))
        errors = np.where(is_stopped, np.minimum(0.0, foretold - logs), foretold - logs)
        return np.concatenate([errors, drawn * (values[:5] - usual)])

    low = [-20.0, 0.0, 0.0, 0.0, -3.0, -12.0]
    high = [20.0, 3.0, 2.0, 2.0, 3.0, logs.min() + 0.1]
    begin = [*usual, logs.min() - 0.5]
    found = least_squares(compare, np.clip(begin, low, high), bounds=(low, high), loss="soft_l1").x
    return CostModel(*map(float, found[:5]), floor=float(np.exp(found[5])))
