"""Which folds and families a run can afford: decided once, before any score is seen, from the table's shape and the
seconds that default fits take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from models.config import Split
from models.outcome import EvaluationPlan
from models.splitting.split import INNER_SHARE, shares_fits

Level = tuple[int, int]
"""(outer, inner) folds; outer 0 has no outer loop, and (0, 1) is one hold-out."""

LEVELS: tuple[Level, ...] = ((5, 4), (5, 2), (3, 1), (0, 5), (0, 1))
"""From the most honest and dearest down. Folds that share fits cost half: 5 x 2 costs what 5 x 1 would."""

TIME_LEVELS: tuple[Level, ...] = ((5, 4), (5, 3), (3, 3), (5, 1), (3, 1), (0, 5), (0, 1))
"""The same for plans in order of time, where no fold can be another one's inner fold."""

LEAST_TRIALS = 5
"""The default and four more configurations, in every fold."""

DEAR = 0.6
"""A family that alone would take more than this share of the time is dear: it goes before folds do, but for those of
the first priority."""

SMALL = 0.05
"""A family of the last priority is kept where it takes at most this share of the time: what is likely to be worse than
others is worth a look where that costs next to nothing."""

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
    """(outer, inner) that the table's size suggests: a large table needs little repeated validation inside.

    Four inner folds to 10,000 rows, two above. In order of time, where folds share no fits, four to 4,000 rows, three
    to 10,000, one split above."""
    inner = 4 if rows <= 10_000 else 2
    if split.time is not None:
        inner = 4 if rows <= 4_000 else 3 if rows <= 10_000 else 1
    return (split.outer or 5, split.inner or inner)


def list_levels(by_time: bool) -> tuple[Level, ...]:
    """The levels of plans with or without an order of time."""
    return TIME_LEVELS if by_time else LEVELS


def count_fits(outer: int, inner: int, by_time: bool = False) -> float:
    """How many inner fits a configuration costs that all outer folds try, on average for each fold."""
    return inner / 2 if shares_fits(outer, inner) and not by_time else inner


def estimate_inner_rows(rows: int, split: Split) -> int:
    """About how many rows a fit of the search is trained on: an outer fold's training part without an inner one's
    judging part, in plans without time."""
    outer, inner = suggest_fold_counts(rows, split)
    if shares_fits(outer, inner) and split.time is None:
        return round(rows * (1 - 2 / outer))
    return round(rows * (1 - 1 / outer) * (1 - (1 / inner if inner > 1 else INNER_SHARE)))


def count_searches(outer: int, refit_too: bool) -> int:
    """How many searches a family has: one in each outer fold, and one on all rows where that is refitted."""
    return outer + (1 if refit_too or not outer else 0)


def estimate_core_seconds(
    outer: int, inner: int, seconds: Mapping[str, float], trials: int, refit_too: bool, by_time: bool = False
) -> float:
    """Core-seconds of `trials` configurations of every family in every fold, and of judging the best."""
    # These are the same in all folds, so that folds share their fits; the search on all rows shares none.
    fits = outer * count_fits(outer, inner, by_time) + inner * (count_searches(outer, refit_too) - outer)
    return (fits * trials + count_searches(outer, refit_too) * REFIT) * sum(seconds.values())


def choose_affordable_plan(
    seconds: Mapping[str, float],
    core_seconds: float,
    start: Level,
    fixed: bool,
    refit_too: bool,
    keep: int = 2,
    priority: Mapping[str, int] | None = None,
    by_time: bool = False,
) -> SearchScope:
    """The first level, and the families, that leave every kept family its default and four more configurations.

    `seconds` are those of one default inner fit of each family at `start`; of equal `priority` the cheapest is kept
    first; those of the third only where each takes a `SMALL` share. What is dear, and what comes after the first
    `CORE`, goes before folds do, but never the last `keep`; with `fixed` the folds are the user's and any family may
    go."""
    levels = [start] if fixed else [start, *_list_lower_levels(start, list_levels(by_time))]
    order = sorted(seconds, key=lambda f: ((priority or {}).get(f, 1), seconds[f], f))
    first, last = ({f for f, rank in (priority or {}).items() if rank == one} for one in (1, 3))
    least, names = min(keep, len(order)), []
    for (outer, inner), most in _list_attempts(levels, max(CORE, keep), keep):

        def time(*families: str, outer: int = outer, inner: int = inner) -> float:
            trials = 1 if (outer, inner) == (0, 1) else LEAST_TRIALS
            return estimate_core_seconds(outer, inner, {f: seconds[f] for f in families}, trials, refit_too, by_time)

        names = []
        for name in order:
            fits = time(*names, name) <= core_seconds
            worth = name not in last or len(names) < least or time(name) <= SMALL * core_seconds
            names += [name] if fits and worth else []
        core = [f for f in order if f in first or time(f) <= (SMALL if f in last else DEAR) * core_seconds][:most]
        if len(names) >= least and set(core) <= set(names):
            return _make_run_plan((outer, inner), names, seconds, core_seconds, refit_too, by_time)
    cheapest = sorted(seconds, key=lambda f: (f not in names, seconds[f], f))
    return _make_run_plan(levels[-1], cheapest[: max(len(names), keep)], seconds, core_seconds, refit_too, by_time)


def _list_attempts(levels: Sequence[Level], core: int, least: int) -> Iterator[tuple[Level, int]]:
    """Levels with how many families must stay: an outer loop over few families comes before none."""
    for most in range(core, least - 1, -1):
        yield from ((level, most) for level in levels if level[0])
    yield from ((level, most) for level in levels if not level[0] for most in range(core, least - 1, -1))


def _list_lower_levels(start: Level, levels: Sequence[Level]) -> list[Level]:
    """The levels after this one that have no more of either folds."""
    rest = levels[levels.index(start) + 1 :] if start in levels else levels
    return [(outer, inner) for outer, inner in rest if outer <= start[0] and (inner <= start[1] or not outer)]


def _make_run_plan(
    level: Level, families: list[str], seconds: Mapping[str, float], core_seconds: float, refit_too: bool, by_time: bool
) -> SearchScope:  # fmt: skip
    outer, inner = level
    left_out = {
        f: f"left out to give the other families more of the {core_seconds:.0f} core-seconds (one fit of it takes "
        f"{seconds[f]:.2g} s)"
        for f in seconds
        if f not in families
    }
    tuned = min(len(families), LEAST_TUNED)
    fits = (outer or 1) * count_fits(outer, inner, by_time)
    return SearchScope(
        outer, inner, tuple(families), left_out, 1 if (outer, inner) == (0, 1) else None,
        _count_tuned_families(fits, [seconds[f] for f in families], core_seconds),
        {f: core_seconds / (count_searches(outer, refit_too) * inner * tuned * seconds[f]) for f in families},
    )  # fmt: skip


def _count_tuned_families(fits: float, seconds: list[float], core_seconds: float) -> int:
    """How many families, were they the dearest, could be tuned in every fold once all defaults are fitted, where a
    configuration costs so many fits in all folds together."""
    dearest = sorted(seconds, reverse=True)
    for count in range(MOST_TUNED, LEAST_TUNED, -1):
        if fits * (sum(seconds) + (_TUNED - 1) * sum(dearest[:count])) <= core_seconds:
            return count
    return LEAST_TUNED
