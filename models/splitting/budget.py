"""Which folds and families a run can afford: decided once, before any score is seen, from the table's shape and the
seconds of the first default fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.config import Split
from models.outcome import EvaluationPlan
from models.splitting.split import INNER_SHARE

LEVELS = ((5, 4), (5, 3), (3, 3), (5, 1), (3, 1), (0, 5), (0, 1))
"""(outer, inner) from the most honest and dearest down; outer 0 has no outer loop, and (0, 1) is one hold-out."""

LEAST_TRIALS = 5
"""The default and four more configurations, in every fold."""

DEAR = 0.6
"""A family that alone would take more than this share of the time is dear: it goes before folds do, but for those of
the first priority."""

CORE = 4
"""So many families, the first by priority, are kept before folds go; the others go before them. Before the outer loop
goes, these go too."""

MOST_TUNED, LEAST_TUNED = 6, 3
"""How many families go on in a fold after the defaults: fewer, where the time is too short to tune so many."""

_TUNED = 13
"""Configurations that are worth to be called tuning."""

REFIT = 1.6
"""Cost of a refit on a fold's whole training part, in inner fits: more rows, and no early-stopping overhead."""


@dataclass(frozen=True)
class SearchScope:
    """What the run will do."""

    outer: int
    inner: int
    families: tuple[str, ...]
    left_out: Mapping[str, str]
    trials: int | None = None
    """A bound on configurations per study; None where the clock decides."""
    tuned: int = MOST_TUNED
    """How many families go on in a fold after the defaults, where the clock decides."""
    configurations: Mapping[str, float] = field(default_factory=dict)
    """By family, about how many configurations a study of it has time for, where the clock decides."""

    @property
    def how(self) -> EvaluationPlan:
        """The plan as the report names it."""
        method = "nested" if self.outer else "bbc" if self.inner > 1 else "holdout"
        return EvaluationPlan(method, self.outer, self.inner)


def suggest_fold_counts(rows: int, split: Split) -> tuple[int, int]:
    """(outer, inner) that the table's size suggests: a large table needs no repeated validation inside.

    Four inner folds to 4,000 rows, three to 10,000, one split above."""
    inner = 4 if rows <= 4_000 else 3 if rows <= 10_000 else 1
    return (split.outer or 5, split.inner or inner)


def estimate_inner_rows(rows: int, split: Split) -> int:
    """About how many rows a fit of the search is trained on: an outer fold's training part without an inner one's
    judging part, in plans without time."""
    outer, inner = suggest_fold_counts(rows, split)
    return round(rows * (1 - 1 / outer) * (1 - (1 / inner if inner > 1 else INNER_SHARE)))


def count_searches(outer: int, refit_too: bool) -> int:
    """How many searches a family has: one in each outer fold, and one on all rows where that is refitted."""
    return outer + (1 if refit_too or not outer else 0)


def estimate_core_seconds(outer: int, inner: int, seconds: Mapping[str, float], trials: int, refit_too: bool) -> float:
    """Core-seconds of `trials` configurations of every family in every fold, and of judging the best."""
    return count_searches(outer, refit_too) * (inner * trials + REFIT) * sum(seconds.values())


def choose_affordable_plan(
    seconds: Mapping[str, float],
    core_seconds: float,
    start: tuple[int, int],
    fixed: bool,
    refit_too: bool,
    keep: int = 2,
    priority: Mapping[str, int] | None = None,
) -> SearchScope:
    """The first level, and the families, that leave every kept family its default and four more configurations.

    `seconds` are those of one default inner fit of each family at `start`; of equal `priority` the cheapest is kept
    first. What is dear, and what comes after the first `CORE`, goes before folds do, but never the last `keep`; with
    `fixed` the folds are the user's and any family may go."""
    levels = [start] if fixed else [start, *(level for level in LEVELS if _comes_after(level, start))]
    order = sorted(seconds, key=lambda f: ((priority or {}).get(f, 1), seconds[f], f))
    first = {f for f, rank in (priority or {}).items() if rank == 1}
    least, names = min(keep, len(order)), []
    for (outer, inner), most in _list_attempts(levels, max(CORE, keep), keep):

        def time(*families: str, outer: int = outer, inner: int = inner) -> float:
            trials = 1 if (outer, inner) == (0, 1) else LEAST_TRIALS
            return estimate_core_seconds(outer, inner, {f: seconds[f] for f in families}, trials, refit_too)

        names = []
        for name in order:
            names += [name] if time(*names, name) <= core_seconds else []
        core = [f for f in order if f in first or time(f) <= DEAR * core_seconds][:most]
        if len(names) >= least and set(core) <= set(names):
            return _make_run_plan(outer, inner, names, seconds, core_seconds, refit_too)
    outer, inner = levels[-1]
    cheapest = sorted(seconds, key=lambda f: (f not in names, seconds[f], f))
    return _make_run_plan(outer, inner, cheapest[: max(len(names), keep)], seconds, core_seconds, refit_too)


def _list_attempts(levels: Sequence[tuple[int, int]], core: int, least: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Levels with how many families must stay: an outer loop over few families comes before none."""
    for most in range(core, least - 1, -1):
        yield from ((level, most) for level in levels if level[0])
    yield from ((level, most) for level in levels if not level[0] for most in range(core, least - 1, -1))


def _comes_after(level: tuple[int, int], start: tuple[int, int]) -> bool:
    place = LEVELS.index(start) if start in LEVELS else -1
    return LEVELS.index(level) > place and level[0] <= start[0] and (level[1] <= start[1] or not level[0])


def _make_run_plan(
    outer: int, inner: int, families: list[str], seconds: Mapping[str, float], core_seconds: float, refit_too: bool
) -> SearchScope:  # fmt: skip
    left_out = {
        f: f"left out to give the other families more of the {core_seconds:.0f} core-seconds (one fit of it takes "
        f"{seconds[f]:.2g} s)"
        for f in seconds
        if f not in families
    }
    tuned = min(len(families), LEAST_TUNED)
    return SearchScope(
        outer, inner, tuple(families), left_out, 1 if (outer, inner) == (0, 1) else None,
        _count_tuned_families(outer or 1, inner, [seconds[f] for f in families], core_seconds),
        {f: core_seconds / (count_searches(outer, refit_too) * inner * tuned * seconds[f]) for f in families},
    )  # fmt: skip


def _count_tuned_families(folds: int, inner: int, seconds: list[float], core_seconds: float) -> int:
    """How many families, were they the dearest, could be tuned in every fold once all defaults are fitted."""
    dearest = sorted(seconds, reverse=True)
    for count in range(MOST_TUNED, LEAST_TUNED, -1):
        if folds * inner * (sum(seconds) + (_TUNED - 1) * sum(dearest[:count])) <= core_seconds:
            return count
    return LEAST_TUNED
