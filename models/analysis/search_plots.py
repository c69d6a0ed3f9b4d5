"""Figures of one family's search, in the house's own style: what mattered, slices, contours, ranks, parallel
coordinates, history. Ranges are drawn from 0 to 1 on their own scale, with ticks at their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from models.analysis.fanova import LeafBoxes, compute_curve, compute_surface, list_trees
from models.analysis.importance import Importance, TrialTable, fit_gain_forest, mark_trials_with
from models.analysis.plots import GRID, INK, SERIES, WIDE, choose_score_range
from models.text.safe import shorten
from models.tuning.space import to_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SLICES, _PAIRS, _AXES, _LINES = 6, 3, 8, 300
_MAP = "viridis"
_RANKS = (SERIES[3], SERIES[4], SERIES[0])
"""From the worst trial to the best: neither end is lost on a light page or on a dark one."""


def plot_search(found: TrialTable, mattered: Importance, metric: str, seed: int = 0) -> dict[str, tuple[Figure, str]]:
    """Each figure with its caption, by name; none where nothing can be said of what mattered."""
    if mattered.lack:
        return {}
    names = [h.name for h in mattered.hyperparameters if h.alone is not None]
    pairs = [(one, other) for one, other, _ in mattered.pairs][:_PAIRS]
    drawn = {
        "importance": plot_importance(mattered),
        "slices": plot_slices(found, names[:_SLICES], metric, seed),
        "parallel": plot_parallel(found, names[:_AXES]),
        "history": plot_gain_history(found, metric),
    }
    several = {"contour": plot_contour(found, pairs, metric, seed), "rank": plot_rank(found, pairs)} if pairs else {}
    return {**drawn, **several}


# --- The figures -----------------------------------------------------------------------------------------------------


def plot_importance(mattered: Importance, most: int = 14) -> tuple[Figure, str]:
    """Both measures of each hyperparameter with their intervals, what mattered most on top."""
    shown = [h for h in mattered.hyperparameters if h.whole is not None][:most]
    figure, (axes,) = _make_panels(1, 1, 1.2 + 0.3 * len(shown))
    kinds = (("whole", "fANOVA, with what it does together with one other", SERIES[0], -0.18, "o"),
             ("alone", "fANOVA, alone", SERIES[7], -0.18, "|"),
             ("best", "PED-ANOVA: part in what tells the best tenth", SERIES[1], 0.18, "o"))  # fmt: skip
    for kind, label, colour, shift, mark in kinds:
        for place, one in enumerate(shown):
            share = getattr(one, kind)
            if kind != "alone":
                axes.plot([share.low, share.high], [place + shift] * 2, color=colour, linewidth=2, alpha=0.5)
        values = [getattr(one, kind).value for one in shown]
        size = 11 if mark == "|" else 6
        axes.plot(values, np.arange(len(shown)) + shift, mark, color=colour, markersize=size, label=label)
    axes.set_yticks(range(len(shown)), [shorten(one.name, 26) for one in shown])
    axes.set(xlim=(-0.01, 1.01), ylim=(len(shown) - 0.5, -0.5), xlabel="share")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", fontsize=7.5)
    return figure, "What scores depended on over the whole space (fANOVA), and what tells the best trials (PED-ANOVA)."


def plot_slices(found: TrialTable, names: Sequence[str], metric: str, seed: int = 0) -> tuple[Figure, str]:
    """Each trial's gain along one hyperparameter, with what the forest says on average over all others."""
    figure, panels = _make_panels(len(names), 2, 1.9)
    for axes, name in zip(panels, names, strict=False):
        column, rows = list(found.space).index(name), mark_trials_with(found, [name])
        _plot_dots(axes, found.places[rows, column], found.gain[rows], found.space[name])
        columns = _list_companions(found, [name])
        places = _choose_places(found.space[name])
        mean, spread = compute_curve(_fit_forest(found, columns, seed), columns.index(name), places)
        if isinstance(found.space[name], CategoricalDistribution):
            axes.errorbar(places, mean, spread, fmt="D", color=SERIES[1], markersize=4, linewidth=1.2)
        else:
            axes.fill_between(places, mean - spread, mean + spread, color=SERIES[1], alpha=0.2, linewidth=0)
            axes.plot(places, mean, color=SERIES[1], linewidth=1.6)
        _frame_axis(axes.xaxis, found.space[name], 2)
        axes.set(title=shorten(name, 26), xlim=(-0.03, 1.03), ylim=_choose_gain_range(found.gain))
    for axes in panels[::2]:
        axes.set_ylabel(_describe_gain(metric))
    return figure, "Dots: trials of all folds. Line: the forest's mean over all other hyperparameters, with its spread."


def plot_contour(found: TrialTable, pairs: Sequence[tuple[str, str]], metric: str, seed: int = 0) -> tuple[Figure, str]:
    """The gain that the forest foretells over two hyperparameters, averaged over all others, with the trials."""
    figure, panels = _make_panels(len(pairs), 1, 2.6)
    for axes, (one, other) in zip(panels, pairs, strict=True):
        rows = mark_trials_with(found, [one, other])
        columns = _list_companions(found, [one, other])
        x, y = _choose_places(found.space[one]), _choose_places(found.space[other])
        said = compute_surface(_fit_forest(found, columns, seed), columns.index(one), columns.index(other), x, y)
        filled = axes.pcolormesh(*_make_edges(x, y), said.T, cmap=_MAP, rasterized=True)
        figure.colorbar(filled, ax=axes, shrink=0.9).outline.set_visible(False)  # pyright: ignore
        best = found.gain[rows] >= np.quantile(found.gain[rows], 0.9)
        for chosen, colour, size in ((~best, "white", 5), (best, SERIES[3], 18)):
            places = _jitter_places(found, rows, one)[chosen], _jitter_places(found, rows, other)[chosen]
            axes.scatter(*places, s=size, color=colour, edgecolors="black", linewidths=0.4, rasterized=True)
        _frame_pair(axes, found, one, other)
    return (
        figure,
        f"Gain over the default ({metric}), the forest's mean over all others. Red: the best tenth of trials.",
    )


def plot_rank(found: TrialTable, pairs: Sequence[tuple[str, str]]) -> tuple[Figure, str]:
    """Every trial over two hyperparameters, coloured by its rank."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    figure, panels = _make_panels(len(pairs), 1, 2.6)
    colours = LinearSegmentedColormap.from_list("ranks", _RANKS)
    for axes, (one, other) in zip(panels, pairs, strict=True):
        rows = mark_trials_with(found, [one, other])
        ranks = found.gain[rows].argsort().argsort() / max(1, rows.sum() - 1)
        x, y = _jitter_places(found, rows, one), _jitter_places(found, rows, other)
        axes.scatter(x, y, c=ranks, cmap=colours, s=14, linewidths=0, rasterized=True)
        _frame_pair(axes, found, one, other)
    scale = ScalarMappable(Normalize(0, 1), colours)
    figure.colorbar(scale, ax=panels, ticks=[0, 1], shrink=0.9).ax.set_yticklabels(["worst", "best"])
    return figure, "Trials by rank of their gain over the default."


def plot_parallel(found: TrialTable, names: Sequence[str]) -> tuple[Figure, str]:
    """A line for each trial across all hyperparameters, the best tenth in colour."""
    from matplotlib.collections import LineCollection

    figure, (axes,) = _make_panels(1, 1, 3.1)
    order = np.argsort(found.gain)[-_LINES:]
    best = found.gain >= np.quantile(found.gain, 0.9)
    columns = [list(found.space).index(name) for name in names]
    for rows, colour, alpha, width in (
        (order[~best[order]], SERIES[8], 0.25, 0.7),
        (order[best[order]], SERIES[0], 0.6, 1.1),
    ):
        lines = [np.column_stack([range(len(names)), found.places[row, columns]]) for row in rows]
        axes.add_collection(LineCollection(lines, color=colour, alpha=alpha, linewidth=width))
    for place, name in enumerate(names):
        axes.axvline(place, color=INK, linewidth=0.8)
        for where_, label in _choose_ticks(found.space[name], 3):
            axes.text(place + 0.03, where_, shorten(label, 12), fontsize=6.5, va="center")
    axes.set_xticks(range(len(names)), [shorten(n, 18) for n in names], rotation=20, ha="right")
    axes.set(xlim=(-0.1, len(names) - 0.5), ylim=(-0.03, 1.03))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, "A line for each trial; blue: the best tenth. Broken where a hyperparameter was not asked for."


def plot_gain_history(found: TrialTable, metric: str) -> tuple[Figure, str]:
    """Every trial's gain in the order in which its study tried it, and each study's best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _make_panels(1, 1, 2.9)
    _scatter_gains(axes, found.number, found.gain)
    for study in np.unique(found.study):
        mine = np.flatnonzero((found.study == study) & found.complete)
        mine = mine[np.argsort(found.number[mine], kind="stable")]
        best = np.maximum.accumulate(found.gain[mine])
        axes.step(found.number[mine], best, where="post", color=SERIES[1], linewidth=1, alpha=0.7)
    axes.axhline(0, color=GRID, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial of its study", ylabel=_describe_gain(metric), ylim=_choose_gain_range(found.gain))
    return figure, "Dots: trials. Lines: the best so far of each fold; 0 is the default."


# --- Their parts -----------------------------------------------------------------------------------------------------


def _make_panels(count: int, most: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many axes, `most` in a row; rows of that height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = min(count, most), math.ceil(count / most)
    figure = Figure(figsize=(WIDE, height * rows), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, h_pad=0.06)  # pyright: ignore
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes[count:]:
        one.remove()
    return figure, axes[:count]


def _describe_gain(metric: str) -> str:
    return f"gain over the default\n({shorten(metric, 24)})"


@lru_cache(maxsize=8)
def _fit_forest(found: TrialTable, columns: tuple[str, ...], seed: int) -> list[LeafBoxes]:
    """The forest of the trials in which all of these were asked for; slices and contours share it."""
    return list_trees(fit_gain_forest(found, columns, mark_trials_with(found, columns), seed))


def _list_companions(found: TrialTable, names: Sequence[str]) -> tuple[str, ...]:
    """All hyperparameters that were asked for wherever these were."""
    rows = mark_trials_with(found, names)
    return tuple(name for name in found.space if mark_trials_with(found, [name])[rows].all())


def _choose_places(one: BaseDistribution) -> np.ndarray:
    """Places at which curves and surfaces are drawn: of choices the middle of each, else evenly."""
    count = len(one.choices) if isinstance(one, CategoricalDistribution) else 30
    return (np.arange(count) + 0.5) / count


def _make_edges(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, len(x) + 1), np.linspace(0, 1, len(y) + 1)


def _jitter_places(found: TrialTable, rows: np.ndarray, name: str) -> np.ndarray:
    """The trials' places; of choices strewn a little, each by its number, so that they do not hide each other."""
    places = found.places[rows, list(found.space).index(name)]
    if not isinstance(one := found.space[name], CategoricalDistribution):
        return places
    golden = (np.arange(len(places)) * 0.6180339887) % 1 - 0.5
    return places + 0.5 * golden / len(one.choices)


def _plot_dots(axes: Axes, places: np.ndarray, gain: np.ndarray, one: BaseDistribution) -> None:
    if isinstance(one, CategoricalDistribution):
        places = places + 0.4 * ((np.arange(len(places)) * 0.6180339887) % 1 - 0.5) / len(one.choices)
    _scatter_gains(axes, places, gain)


def _scatter_gains(axes: Axes, x: np.ndarray, gain: np.ndarray) -> None:
    alpha = float(np.clip(80 / max(1, len(x)), 0.3, 0.7))
    axes.scatter(x, gain, s=9, alpha=alpha, color=SERIES[0], linewidths=0, rasterized=len(x) > 150)


def _frame_pair(axes: Axes, found: TrialTable, one: str, other: str) -> None:
    _frame_axis(axes.xaxis, found.space[one])
    _frame_axis(axes.yaxis, found.space[other])
    axes.set(xlabel=shorten(one, 30), ylabel=shorten(other, 30), xlim=(0, 1), ylim=(0, 1))
    axes.grid(visible=False)


def _frame_axis(axis: Any, one: BaseDistribution, count: int = 4) -> None:
    """Puts about so many of the range's own values along an axis from 0 to 1."""
    ticks = _choose_ticks(one, count)
    axis.set_ticks([place for place, _ in ticks], [shorten(label, 12) for _, label in ticks])


def _choose_ticks(one: Any, count: int) -> list[tuple[float, str]]:
    """Places and labels of a few round values of the range."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if isinstance(one, CategoricalDistribution):
        size = len(one.choices)
        return [((k + 0.5) / size, str(c)) for k, c in enumerate(one.choices)][:: math.ceil(size / 6)]
    low, high = to_number(one, 0.0), to_number(one, 1.0)
    if one.log:
        subs = (1.0, 2.0, 5.0) if high / low < 20 else (1.0, 3.0) if high / low < 200 else (1.0,)
        values = LogLocator(subs=subs, numticks=count + 2).tick_values(low, high)
    else:
        values = MaxNLocator(count, integer=isinstance(one.low, int)).tick_values(low, high)
    span = (math.log(low), math.log(high / low)) if one.log else (low, high - low)
    places = [((math.log(v) if one.log else v) - span[0]) / span[1] for v in values]
    return [(p, f"{v:g}") for p, v in zip(places, values, strict=True) if -0.001 <= p <= 1.001]


def _choose_gain_range(gain: np.ndarray) -> tuple[float, float]:
    """The gains' range without the worst ones, with some room."""
    low, high = choose_score_range(gain, True) if len(gain) >= 20 else (float(gain.min()), float(gain.max()))
    room = 0.08 * (high - low) or 1e-3
    return min(low, 0.0) - room, max(high, 0.0) + room
