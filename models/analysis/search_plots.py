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


def plot_search(table: TrialTable, importance: Importance, metric: str, seed: int = 0) -> dict[str, tuple[Figure, str]]:
    """Each figure with its caption, by name; none where nothing can be said of what mattered."""
    if importance.lack:
        return {}
    names = [h.name for h in importance.hyperparameters if h.alone is not None]
    pairs = [(name, other) for name, other, _ in importance.pairs][:_PAIRS]
    figures = {
        "importance": plot_importance(importance),
        "slices": plot_slices(table, names[:_SLICES], metric, seed),
        "parallel": plot_parallel(table, names[:_AXES]),
        "history": plot_gain_history(table, metric),
    }
    extras = {"contour": plot_contour(table, pairs, metric, seed), "rank": plot_rank(table, pairs)} if pairs else {}
    return {**figures, **extras}


# --- The figures -----------------------------------------------------------------------------------------------------


def plot_importance(importance: Importance, limit: int = 14) -> tuple[Figure, str]:
    """Both measures of each hyperparameter with their intervals, what mattered most on top."""
    hyperparameters = [h for h in importance.hyperparameters if h.whole is not None][:limit]
    figure, (axes,) = _make_panels(1, 1, 1.2 + 0.3 * len(hyperparameters))
    kinds = (("whole", "fANOVA, with what it does together with one other", SERIES[0], -0.18, "o"),
             ("alone", "fANOVA, alone", SERIES[7], -0.18, "|"),
             ("best", "PED-ANOVA: part in what tells the best tenth", SERIES[1], 0.18, "o"))  # fmt: skip
    for kind, label, colour, shift, mark in kinds:
        for place, hyperparameter in enumerate(hyperparameters):
            share = getattr(hyperparameter, kind)
            if kind != "alone":
                axes.plot([share.low, share.high], [place + shift] * 2, color=colour, linewidth=2, alpha=0.5)
        values = [getattr(hyperparameter, kind).value for hyperparameter in hyperparameters]
        size = 11 if mark == "|" else 6
        axes.plot(values, np.arange(len(hyperparameters)) + shift, mark, color=colour, markersize=size, label=label)
    axes.set_yticks(
        range(len(hyperparameters)), [shorten(hyperparameter.name, 26) for hyperparameter in hyperparameters]
    )
    axes.set(xlim=(-0.01, 1.01), ylim=(len(hyperparameters) - 0.5, -0.5), xlabel="share")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", fontsize=7.5)
    return figure, "What scores depended on over the whole space (fANOVA), and what tells the best trials (PED-ANOVA)."


def plot_slices(table: TrialTable, names: Sequence[str], metric: str, seed: int = 0) -> tuple[Figure, str]:
    """Each trial's gain along one hyperparameter, with what the forest says on average over all others."""
    figure, panels = _make_panels(len(names), 2, 1.9)
    for axes, name in zip(panels, names, strict=False):
        column, rows = list(table.space).index(name), mark_trials_with(table, [name])
        _plot_dots(axes, table.places[rows, column], table.gain[rows], table.space[name])
        columns = _list_companions(table, [name])
        places = _choose_places(table.space[name])
        mean, spread = compute_curve(_fit_forest(table, columns, seed), columns.index(name), places)
        if isinstance(table.space[name], CategoricalDistribution):
            axes.errorbar(places, mean, spread, fmt="D", color=SERIES[1], markersize=4, linewidth=1.2)
        else:
            axes.fill_between(places, mean - spread, mean + spread, color=SERIES[1], alpha=0.2, linewidth=0)
            axes.plot(places, mean, color=SERIES[1], linewidth=1.6)
        _frame_axis(axes.xaxis, table.space[name], 2)
        axes.set(title=shorten(name, 26), xlim=(-0.03, 1.03), ylim=_choose_gain_range(table.gain))
    for axes in panels[::2]:
        axes.set_ylabel(_describe_gain(metric))
    return figure, "Dots: trials of all folds. Line: the forest's mean over all other hyperparameters, with its spread."


def plot_contour(table: TrialTable, pairs: Sequence[tuple[str, str]], metric: str, seed: int = 0) -> tuple[Figure, str]:
    """The gain that the forest foretells over two hyperparameters, averaged over all others, with the trials."""
    figure, panels = _make_panels(len(pairs), 1, 2.6)
    for axes, (name, other) in zip(panels, pairs, strict=True):
        rows = mark_trials_with(table, [name, other])
        columns = _list_companions(table, [name, other])
        x, y = _choose_places(table.space[name]), _choose_places(table.space[other])
        surface = compute_surface(_fit_forest(table, columns, seed), columns.index(name), columns.index(other), x, y)
        mesh = axes.pcolormesh(*_make_edges(x, y), surface.T, cmap=_MAP, rasterized=True)
        figure.colorbar(mesh, ax=axes, shrink=0.9).outline.set_visible(False)  # pyright: ignore
        best = table.gain[rows] >= np.quantile(table.gain[rows], 0.9)
        for mask, colour, size in ((~best, "white", 5), (best, SERIES[3], 18)):
            places = _jitter_places(table, rows, name)[mask], _jitter_places(table, rows, other)[mask]
            axes.scatter(*places, s=size, color=colour, edgecolors="black", linewidths=0.4, rasterized=True)
        _frame_pair(axes, table, name, other)
    return (
        figure,
        f"Gain over the default ({metric}), the forest's mean over all others. Red: the best tenth of trials.",
    )


def plot_rank(table: TrialTable, pairs: Sequence[tuple[str, str]]) -> tuple[Figure, str]:
    """Every trial over two hyperparameters, coloured by its rank."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    figure, panels = _make_panels(len(pairs), 1, 2.6)
    colours = LinearSegmentedColormap.from_list("ranks", _RANKS)
    for axes, (name, other) in zip(panels, pairs, strict=True):
        rows = mark_trials_with(table, [name, other])
        ranks = table.gain[rows].argsort().argsort() / max(1, rows.sum() - 1)
        x, y = _jitter_places(table, rows, name), _jitter_places(table, rows, other)
        axes.scatter(x, y, c=ranks, cmap=colours, s=14, linewidths=0, rasterized=True)
        _frame_pair(axes, table, name, other)
    scale = ScalarMappable(Normalize(0, 1), colours)
    figure.colorbar(scale, ax=panels, ticks=[0, 1], shrink=0.9).ax.set_yticklabels(["worst", "best"])
    return figure, "Trials by rank of their gain over the default."


def plot_parallel(table: TrialTable, names: Sequence[str]) -> tuple[Figure, str]:
    """A line for each trial across all hyperparameters, the best tenth in colour."""
    from matplotlib.collections import LineCollection

    figure, (axes,) = _make_panels(1, 1, 3.1)
    order = np.argsort(table.gain)[-_LINES:]
    best = table.gain >= np.quantile(table.gain, 0.9)
    columns = [list(table.space).index(name) for name in names]
    for rows, colour, alpha, width in (
        (order[~best[order]], SERIES[8], 0.25, 0.7),
        (order[best[order]], SERIES[0], 0.6, 1.1),
    ):
        lines = [np.column_stack([range(len(names)), table.places[row, columns]]) for row in rows]
        axes.add_collection(LineCollection(lines, color=colour, alpha=alpha, linewidth=width))
    for place, name in enumerate(names):
        axes.axvline(place, color=INK, linewidth=0.8)
        for height, label in _choose_ticks(table.space[name], 3):
            axes.text(place + 0.03, height, shorten(label, 12), fontsize=6.5, va="center")
    axes.set_xticks(range(len(names)), [shorten(n, 18) for n in names], rotation=20, ha="right")
    axes.set(xlim=(-0.1, len(names) - 0.5), ylim=(-0.03, 1.03))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure, "A line for each trial; blue: the best tenth. Broken where a hyperparameter was not asked for."


def plot_gain_history(table: TrialTable, metric: str) -> tuple[Figure, str]:
    """Every trial's gain in the order in which its study tried it, and each study's best so far."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _make_panels(1, 1, 2.9)
    _scatter_gains(axes, table.number, table.gain)
    for study in np.unique(table.study):
        trials = np.flatnonzero((table.study == study) & table.complete)
        trials = trials[np.argsort(table.number[trials], kind="stable")]
        best = np.maximum.accumulate(table.gain[trials])
        axes.step(table.number[trials], best, where="post", color=SERIES[1], linewidth=1, alpha=0.7)
    axes.axhline(0, color=GRID, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial of its study", ylabel=_describe_gain(metric), ylim=_choose_gain_range(table.gain))
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
    for panel in axes[count:]:
        panel.remove()
    return figure, axes[:count]


def _describe_gain(metric: str) -> str:
    return f"gain over the default\n({shorten(metric, 24)})"


@lru_cache(maxsize=8)
def _fit_forest(table: TrialTable, columns: tuple[str, ...], seed: int) -> list[LeafBoxes]:
    """The forest of the trials in which all of these were asked for; slices and contours share it."""
    return list_trees(fit_gain_forest(table, columns, mark_trials_with(table, columns), seed))


def _list_companions(table: TrialTable, names: Sequence[str]) -> tuple[str, ...]:
    """All hyperparameters that were asked for wherever these were."""
    rows = mark_trials_with(table, names)
    return tuple(name for name in table.space if mark_trials_with(table, [name])[rows].all())


def _choose_places(distribution: BaseDistribution) -> np.ndarray:
    """Places at which curves and surfaces are drawn: of choices the middle of each, else evenly."""
    count = len(distribution.choices) if isinstance(distribution, CategoricalDistribution) else 30
    return (np.arange(count) + 0.5) / count


def _make_edges(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, len(x) + 1), np.linspace(0, 1, len(y) + 1)


def _jitter_places(table: TrialTable, rows: np.ndarray, name: str) -> np.ndarray:
    """The trials' places; of choices strewn a little, each by its number, so that they do not hide each other."""
    places = table.places[rows, list(table.space).index(name)]
    if not isinstance(distribution := table.space[name], CategoricalDistribution):
        return places
    golden = (np.arange(len(places)) * 0.6180339887) % 1 - 0.5
    return places + 0.5 * golden / len(distribution.choices)


def _plot_dots(axes: Axes, places: np.ndarray, gain: np.ndarray, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        places = places + 0.4 * ((np.arange(len(places)) * 0.6180339887) % 1 - 0.5) / len(distribution.choices)
    _scatter_gains(axes, places, gain)


def _scatter_gains(axes: Axes, x: np.ndarray, gain: np.ndarray) -> None:
    alpha = float(np.clip(80 / max(1, len(x)), 0.3, 0.7))
    axes.scatter(x, gain, s=9, alpha=alpha, color=SERIES[0], linewidths=0, rasterized=len(x) > 150)


def _frame_pair(axes: Axes, table: TrialTable, name: str, other: str) -> None:
    _frame_axis(axes.xaxis, table.space[name])
    _frame_axis(axes.yaxis, table.space[other])
    axes.set(xlabel=shorten(name, 30), ylabel=shorten(other, 30), xlim=(0, 1), ylim=(0, 1))
    axes.grid(visible=False)


def _frame_axis(axis: Any, distribution: BaseDistribution, count: int = 4) -> None:
    """Puts about so many of the range's own values along an axis from 0 to 1."""
    ticks = _choose_ticks(distribution, count)
    axis.set_ticks([place for place, _ in ticks], [shorten(label, 12) for _, label in ticks])


def _choose_ticks(distribution: Any, count: int) -> list[tuple[float, str]]:
    """Places and labels of a few round values of the range."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if isinstance(distribution, CategoricalDistribution):
        size = len(distribution.choices)
        return [((k + 0.5) / size, str(c)) for k, c in enumerate(distribution.choices)][:: math.ceil(size / 6)]
    low, high = to_number(distribution, 0.0), to_number(distribution, 1.0)
    if distribution.log:
        subs = (1.0, 2.0, 5.0) if high / low < 20 else (1.0, 3.0) if high / low < 200 else (1.0,)
        values = LogLocator(subs=subs, numticks=count + 2).tick_values(low, high)
    else:
        values = MaxNLocator(count, integer=isinstance(distribution.low, int)).tick_values(low, high)
    span = (math.log(low), math.log(high / low)) if distribution.log else (low, high - low)
    places = [((math.log(v) if distribution.log else v) - span[0]) / span[1] for v in values]
    return [(p, f"{v:g}") for p, v in zip(places, values, strict=True) if -0.001 <= p <= 1.001]


def _choose_gain_range(gain: np.ndarray) -> tuple[float, float]:
    """The gains' range without the worst ones, with some room."""
    low, high = choose_score_range(gain, True) if len(gain) >= 20 else (float(gain.min()), float(gain.max()))
    room = 0.08 * (high - low) or 1e-3
    return min(low, 0.0) - room, max(high, 0.0) + room
