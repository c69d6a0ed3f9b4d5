"""How often the gate promotes by chance, what it overlooks, and what its score to publish is worth:
`python -m benchmarks.looks [--sequences 200] [--rows 400]`.

Nothing is trained at a look. 21 forests, each fitted on a half of scikit-learn's digits (above four or not), predict
the other half. Each row that is drawn gives its 21 predictions to 21 versions in an order of its own: so all versions
are equally good in truth, and as alike on a row as real retrainings are. A shift towards the truth makes some better by
as much as is asked for; a stretch of the log-odds makes them seldom very wrong. What versions score in truth is their
score on all rows with all predictions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtrit
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from benchmarks.stamp import print_table
from models.evaluation.estimate import compute_deviation
from models.evaluation.gate import PairedScores, make_published_score, score_versions
from models.evaluation.looks import LOOKS, compute_look_level
from models.metrics.metric import Fold3, Metric, make_metric

VERSIONS = LOOKS + 1
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class World:
    """Rows without end: the digits, drawn with replacement."""

    metric: Metric
    target: np.ndarray
    odds: np.ndarray
    """Log-odds (version, row)."""
    rows: int
    """What is sealed."""
    stretch: float = 1.0
    """What challengers' log-odds are multiplied by."""
    shift: float = 0.0
    """What is added to them towards the truth."""
    since: int = 1
    """The first look whose challenger has these two."""
    fresh: bool = False
    """Whether each look has rows of its own, as where a window moves on."""

    def challengers(self, odds: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The challengers' log-odds."""
        return self.stretch * odds + self.shift * (2 * target - 1)

    def score(self, odds: np.ndarray) -> float:
        """The metric in truth."""
        return self.metric.score(np.tile(self.target, len(odds)), to_class_probabilities(odds.ravel()))

    @cached_property
    def truth(self) -> float:
        """What a challenger scores in truth."""
        return self.score(self.challengers(self.odds, self.target))

    @property
    def gain(self) -> float:
        """How much better challengers are in truth."""
        return self.metric.gain(self.truth) - self.metric.gain(self.score(self.odds))

    def gaining(self, gain: float) -> World:
        """The same with challengers that are better by so much."""
        shift = brentq(lambda one: replace(self, shift=one).gain - gain, -4, 4, xtol=1e-6)
        return replace(self, shift=float(shift))  # pyright: ignore[reportArgumentType]

    def drawn(self, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Sealed rows, and the log-odds (version, row) that equals give them."""
        rows = draw.integers(0, len(self.target), self.rows)
        return self.target[rows], draw.permuted(self.odds[:, rows], axis=0)

    def looks(self, seed: int) -> Iterator[PairedScores]:
        """One champion and challengers in turn, without end of patience."""
        draw = np.random.default_rng(seed)
        target, odds = self.drawn(draw)
        for look in range(LOOKS):
            if self.fresh and look:
                target, odds = self.drawn(draw)
            own = odds[look + 1]
            challenger = own if look + 1 < self.since else self.challengers(own, target)
            folds: list[Fold3] = [(target, to_class_probabilities(one), None) for one in (odds[0], challenger)]
            yield score_versions(self.metric, folds, np.arange(self.rows), seed)


def to_class_probabilities(odds: np.ndarray) -> np.ndarray:
    """Probabilities of both classes."""
    return np.stack([expit(-odds), expit(odds)], axis=1)


def predict_digits() -> tuple[np.ndarray, np.ndarray]:
    """Whether a digit is above four, and the log-odds of it (version, row), each from a half that did not hold the
    row."""
    table = load_digits()
    pixels, digit = np.asarray(table["data"]), np.asarray(table["target"])  # pyright: ignore
    target, odds = (digit > 4).astype(int), np.empty((VERSIONS, len(digit)))
    for version in range(VERSIONS):
        halves = np.array_split(np.random.default_rng(version).permutation(len(digit)), 2)
        for train, judge in (halves, halves[::-1]):
            forest = RandomForestClassifier(40, min_samples_leaf=5, random_state=version, n_jobs=-1)
            chance = forest.fit(pixels[train][:, 2::8], target[train]).predict_proba(pixels[judge][:, 2::8])[:, 1]
            odds[version, judge] = logit(chance.clip(0.01, 0.99))
    return target, odds


# --- Rules -----------------------------------------------------------------------------------------------------------


def make_shared_bound(power: float) -> Callable[[PairedScores, int], float]:
    """The bound where looks share the level by 1 / look ** power."""
    parts = np.arange(1, LOOKS + 1) ** -power
    return lambda met, look: met.bound_gain(1 - (1 - LEVEL) * parts[look - 1] / parts.sum())


def compute_unpaid_bound(met: PairedScores, look: int) -> float:
    """The bound at the same level for each look: the smaller of percentile and Student's t."""
    t = met.gain - float(stdtrit(len(met.units) - 1, LEVEL)) * compute_deviation(met.gains)
    return min(float(np.quantile(met.gains, 1 - LEVEL)), t)


RULES: dict[str, Callable[[PairedScores, int], float]] = {
    "each look at 95 %": compute_unpaid_bound,
    "ladder": lambda met, look: met.gain - compute_deviation(met.gains),
    "6 / (π² look²)": lambda met, look: met.bound_gain(1 - (1 - LEVEL) * 6 / (np.pi * look) ** 2),
    "1 / look": make_shared_bound(1.0),
    "equal parts": make_shared_bound(0.0),
    "1 / √look (Nestor's)": lambda met, look: met.bound_gain(compute_look_level(look, LEVEL)),
}
"""The lower bound of a gain; above 0 it promotes. The ladder (Blum & Hardt 2015, ICML) asks for a step of one standard
error; it bounds how far a leaderboard flatters, and not how often."""


@dataclass(frozen=True)
class LookOutcomes:
    """What sequences of looks came to."""

    first: dict[str, list[int]]
    """By rule, the look that promoted in each sequence; 0 where none did."""
    off: list[float]
    """How far the score to publish is off, in standard errors; positive flatters."""
    naive: list[float]
    """The same of the score as it stands."""
    held: list[bool]
    """Whether the published interval holds the truth."""
    error: float
    """The gain's standard error."""

    def shares(self, rule: str, since: int) -> str:
        """Sequences that promote at the look when the gain comes, and until the last: `32 / 71 %`."""
        looks = np.array(self.first[rule])
        return f"{100 * np.mean(looks == since):.3g} / {100 * np.mean(looks > 0):.3g} %"


def simulate_looks(world: World, sequences: int) -> LookOutcomes:
    """Sequences of looks under every rule."""
    first: dict[str, list[int]] = {name: [] for name in RULES}
    errors, off, naive, held = [], [], [], []
    for seed in range(sequences):
        open_ = set(RULES)
        for look, met in enumerate(world.looks(seed), 1):
            errors.append(compute_deviation(met.gains))
            for name in sorted(open_):
                if RULES[name](met, look) > 0:
                    first[name].append(look)
                    open_.discard(name)
                    if RULES[name] is list(RULES.values())[-1]:
                        _record_published(world, met, look, off, naive, held)
        for name in open_:
            first[name].append(0)
    return LookOutcomes(first, off, naive, held, float(np.mean(errors)))


def _record_published(
    world: World, met: PairedScores, look: int, off: list[float], naive: list[float], held: list[bool]
) -> None:
    """What is published of a version that was promoted, beside the truth."""
    score, gain = make_published_score(met, compute_look_level(look, LEVEL), 0.0, None).score, world.metric.gain
    error, truth = compute_deviation(met.drawn[1]), world.truth
    off.append((gain(score.value) - gain(truth)) / error)
    naive.append((gain(met.values[1]) - gain(truth)) / error)
    held.append(score.low is not None and score.high is not None and score.low <= truth <= score.high)


def main() -> None:
    """Prints a table of promotions and one of published scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--rows", type=int, default=400)
    asked = parser.parse_args()
    target, odds = predict_digits()
    rows, scores = [], []
    for metric in ("log_loss", "roc_auc"):
        equal = World(make_metric(metric, "binary", ("no", "yes")), target, odds, asked.rows)
        found = simulate_looks(equal, asked.sequences)
        worlds = {
            "equal": equal,
            "equal, new rows at each look": replace(equal, fresh=True),
            "better by half a standard error": equal.gaining(found.error / 2),
            "better by 2": equal.gaining(2 * found.error),
            "better by 3": equal.gaining(3 * found.error),
            "better by 3 from the 10th on": replace(equal.gaining(3 * found.error), since=10),
        }
        if metric == "log_loss":  # ranks know no stretch
            worlds["equal, seldom very wrong"] = replace(equal, stretch=2.5).gaining(0)
        for name, world in worlds.items():
            one = found if world is equal else simulate_looks(world, asked.sequences)
            rows.append((metric, name, *(one.shares(rule, world.since) for rule in RULES)))
            if one.off:
                scores.append(
                    (metric, name, len(one.off), f"{np.mean(one.naive):+.2f}", f"{np.mean(one.off):+.2f}",
                     f"{100 * np.mean(one.held):.0f} %")
                )  # fmt: skip
    title = (
        f"{asked.sequences} sequences of {LOOKS} looks at {asked.rows} rows: promoted at the first such look / in all"
    )
    print_table(title, ("metric", "challengers", *RULES), rows)
    head = ("metric", "challengers", "promoted", "score as it stands", "score to publish", "interval holds the truth")
    print_table("Scores to publish, in standard errors above the truth", head, scores)


if __name__ == "__main__":
    main()
