"""Figures as values: arrays in, a matplotlib Figure out, with no global state. Matplotlib is imported when one is made.

INK (text, axes) and GRID are stand-ins that a page replaces with its own colours, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.text.safe import shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from models.outcome import FrontPoint, Interval, ObjectiveOutcome

INK, GRID = "#123457", "#abcdef"
SERIES = ("#3d7fd1", "#e0803a", "#3fa473", "#d2575c", "#9171c7", "#b3864c", "#d272ae", "#5aa7b8", "#8b8f97", "#a6a639")

# `parse_math`: a dollar sign in a column's name is a dollar sign. `fonttype`: text stays text.
_STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
WIDE = 4.4
"""Inches of a figure with much in it. A phone shows them at their own size, so that the letters can be read."""
_MOST_POINTS = 4000
_FAR = 2.0
"""How far beyond the middle 80 % of values, in spans of these, a value makes a picture no longer flat."""

Schedule = Sequence[Sequence[Any]]
"""Rounds and the settings that they were trained with, step by step."""


def apply_style() -> Any:
    """A context in which figures are to be made and written."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _make_figure(title: str, x: str, y: str, size: tuple[float, float] = (3.5, 2.9)) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def plot_intervals(rows: Sequence[tuple[str, Interval]], metric: str, marks: int = 0) -> Figure:
    """Scores with their intervals, one under the other; the first `marks` rows stand out."""
    figure, axes = _make_figure("", shorten(metric), "", (WIDE, 0.8 + 0.24 * len(rows)))
    low, high = _choose_interval_range([interval for _, interval in rows], marks)
    for place, (_, interval) in enumerate(rows):
        colour = SERIES[0] if place < marks else SERIES[8]
        if interval.low is not None and interval.high is not None:
            ends = np.clip([_find_lowest(interval), _find_highest(interval)], low, high)
            axes.plot(ends, [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([interval.value], [place], "o", color=colour, markersize=5.5)
        for end, overflow, mark in ((low, _find_lowest(interval) < low, 8), (high, _find_highest(interval) > high, 9)):
            if overflow:  # an arrow: it goes on
                axes.plot([end], [place], marker=mark, color=colour, markersize=6, clip_on=False)
    room = 0.04 * (high - low) or 1e-3
    axes.set_xlim(low - room, high + room)
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks(range(len(rows)), [shorten(name, 26) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return figure


def _choose_interval_range(rows: Sequence[Interval], marks: int) -> tuple[float, float]:
    """The scores between which a picture shows these: the first `marks` whole, of the others what is not far off."""
    widths = [_find_highest(interval) - _find_lowest(interval) for interval in rows]
    first = [end for interval in rows[:marks] for end in (_find_lowest(interval), _find_highest(interval))]
    low, high = choose_window(np.array([interval.value for interval in rows]), 3 * float(np.median(widths)))
    inliers = [interval for interval in rows if low <= interval.value <= high]
    short = [
        interval
        for interval in inliers
        if _find_highest(interval) - _find_lowest(interval) <= 10 * float(np.median(widths))
    ]
    ends = [
        *first,
        *(end for interval in short for end in (_find_lowest(interval), _find_highest(interval))),
        *(interval.value for interval in inliers),
    ]
    return min(ends), max(ends)


def _find_lowest(interval: Interval) -> float:
    return interval.low if interval.low is not None and math.isfinite(interval.low) else interval.value


def _find_highest(interval: Interval) -> float:
    return interval.high if interval.high is not None and math.isfinite(interval.high) else interval.value


def choose_window(values: np.ndarray, room: float = 0.0) -> tuple[float, float]:
    """Between which values a picture is drawn: the smallest and the largest, unless these are so far from the middle
    80 % that the others would be one dot. What is nearer than `room` is never far. `values` is (n,); 0 and 1 where none
    is finite."""
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return 0.0, 1.0
    cut = max(1, len(values) // 10) if len(values) > 3 else 0
    low, high = values[cut], values[len(values) - 1 - cut]
    room = max(room, _FAR * (high - low)) or math.inf
    inliers = values[(values >= low - room) & (values <= high + room)]
    return float(inliers[0]), float(inliers[-1])


def plot_pareto(points: Sequence[FrontPoint], objectives: Sequence[ObjectiveOutcome]) -> Figure:
    """Configurations by the first objective and each other one, a panel for each: dominated ones pale, the front
    strong, those over a limit as crosses, the picked ones ringed; limits as lines. The front of two objectives is
    joined; one of more is no line in any panel."""
    first, *others = objectives
    figure, panels = _make_panels(len(others))
    for place, (axes, other) in enumerate(zip(panels, others, strict=True), 1):
        _plot_configurations(axes, points, place)
        if len(others) == 1:
            _join_front(axes, points)
        axes.set_xlabel(_describe_axis(other))
        for objective, line in ((other, axes.axvline), (first, axes.axhline)):
            if objective.limit is not None:
                line(objective.limit, color=SERIES[3], linewidth=1.0, linestyle="--")
        _set_log_scale(axes, [p.values[place] for p in points])
        _set_score_range(axes, np.array([p.values[0] for p in points]), first.greater_is_better)
        axes.set_ylabel(_describe_axis(first))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _make_panels(count: int) -> tuple[Figure, list[Axes]]:
    """As many panels of one figure, one below the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, 0.6 + 2.8 * count), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(count, 1, place) for place in range(1, count + 1)]


def _plot_configurations(axes: Axes, points: Sequence[FrontPoint], place: int) -> None:
    """The points by that value and the first one, in the colours of their families."""
    families = list(dict.fromkeys(p.family for p in points))
    for colour, family in zip(_pick_colours(families), families, strict=True):
        members = [p for p in points if p.family == family]
        for group, alpha, mark in (
            (_list_dominated(members), 0.3, "o"),
            (_list_front(members), 1.0, "o"),
            (_list_over_limit(members), 0.4, "x"),
        ):
            label = shorten(family, 24) if alpha == 1.0 else None
            size = 34 if alpha == 1.0 else 14
            axes.scatter(
                [p.values[place] for p in group], [p.values[0] for p in group], s=size, alpha=alpha, color=colour,
                marker=mark, linewidths=1.0 if mark == "x" else 0, label=label,
            )  # fmt: skip
    picks = [p for p in points if p.picked]
    axes.scatter(
        [p.values[place] for p in picks], [p.values[0] for p in picks], s=130, facecolors="none", edgecolors=INK,
        linewidths=1.6, zorder=4,
    )  # fmt: skip


def _join_front(axes: Axes, points: Sequence[FrontPoint]) -> None:
    """A line along the front of each fold."""
    for fold in dict.fromkeys(p.fold for p in points):
        ends = sorted((p.values[1], p.values[0]) for p in points if p.fold == fold and p.front)
        axes.plot(*zip(*ends, strict=True), color=SERIES[8], linewidth=0.9, alpha=0.7, zorder=0) if ends else None


def _describe_axis(objective: ObjectiveOutcome) -> str:
    sense = "higher" if objective.greater_is_better else "lower"
    unit = f", {objective.unit}" if objective.unit else ""
    return f"{shorten(objective.name)}{unit} ({sense} is better)"


def _list_front(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    return [p for p in points if p.front]


def _list_dominated(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    return [p for p in points if p.keeps and not p.front]


def _list_over_limit(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    return [p for p in points if not p.keeps]


def _set_log_scale(axes: Axes, values: Sequence[float]) -> None:
    """A scale of powers where the values span more than a factor of twenty."""
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")  # matplotlib's own is a formula, which is not set here


def plot_history(trials: pd.DataFrame, metric: str, greater_is_better: bool) -> Figure:
    """Every complete trial as a dot, and by family the best so far, averaged over its folds."""
    from matplotlib.ticker import MaxNLocator

    rows = trials[trials["inner"].notna() & (trials["state"] == "complete")]
    families = sorted(rows["family"].unique(), key=lambda f: -len(rows[rows["family"] == f]))
    size = (WIDE, 3.0 + 0.17 * math.ceil(len(families) / 2))
    figure, axes = _make_figure("", "trial of its study", f"{shorten(metric)}, inner", size)
    for place, (colour, family) in enumerate(zip(_pick_colours(families), families, strict=True)):
        dashes = ("-", "--", ":")[min(place // len(SERIES), 2)]  # the colours come again
        group = rows[rows["family"] == family]
        scores = group["inner"].astype(float)
        axes.scatter(group["number"], scores, s=8, alpha=0.45, color=colour, linewidths=0, rasterized=len(group) > 300)
        best = _compute_best_so_far(group, greater_is_better)
        line: dict[str, Any] = {"linestyle": dashes, "linewidth": 1.8, "label": shorten(family, 24)}
        axes.step(best.index, best, where="post", color=colour, **line)
        axes.plot(best.index[-1:], best.iloc[-1:], "o", color=colour, markersize=4)
    _set_score_range(axes, rows["inner"].astype(float).to_numpy(), greater_is_better)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if families:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _compute_best_so_far(group: pd.DataFrame, greater_is_better: bool) -> pd.Series:
    import pandas as pd

    table = group.pivot_table(index="number", columns="fold", values="inner", aggfunc="first").astype(float)
    table = table.reindex(range(int(table.index.max()) + 1))
    best = table.cummax() if greater_is_better else table.cummin()
    mean = best.ffill().mean(axis=1)
    return mean.dropna() if len(mean.dropna()) else pd.Series(dtype=float)


def _set_score_range(axes: Axes, values: np.ndarray, greater_is_better: bool) -> None:
    if len(values) >= 10:
        low, high = choose_score_range(values, greater_is_better)
        room = 0.06 * (high - low) or 1e-3
        axes.set_ylim(low - room, high + room)


def choose_score_range(scores: np.ndarray, greater_is_better: bool) -> tuple[float, float]:
    """The range of the scores (n,) without the worst twentieth, and without those that are far worse than the better
    half: however many trials diverged, they must not flatten the rest."""
    gains = scores if greater_is_better else -scores
    worst, middle, best = np.quantile(gains, (0.05, 0.5, 1.0), method="closest_observation")
    if best > middle:
        worst = max(worst, best - 2 * _FAR * (best - middle))
    return (float(worst), float(best)) if greater_is_better else (-float(best), -float(worst))


def plot_roc(target: np.ndarray, score: np.ndarray, fold: np.ndarray) -> Figure:
    """The ROC curve of each outer fold, thin, and of all rows together. Of each row `target` is 0 or 1, `score` the
    probability of 1, and `fold` its fold."""
    from sklearn.metrics import roc_curve

    figure, axes = _make_figure("ROC, outer rows", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    for k in np.unique(fold):
        rows = fold == k
        if 0 < target[rows].sum() < rows.sum():
            axes.plot(
                *_thin_curve(*roc_curve(target[rows], score[rows])[:2]), color=SERIES[0], linewidth=0.8, alpha=0.4
            )
    axes.plot(*_thin_curve(*roc_curve(target, score)[:2]), color=SERIES[0], linewidth=2)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure


def _thin_curve(x: np.ndarray, y: np.ndarray, limit: int = 200) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= limit:
        return x, y
    indices = np.unique(np.linspace(0, len(x) - 1, limit).astype(int))
    return x[indices], y[indices]


def plot_calibration(target: np.ndarray, score: np.ndarray) -> Figure:
    """Predicted against seen share of the positive class, in ten groups of equal size. Of each row `target` is 0 or 1,
    and `score` the probability of 1."""
    figure, axes = _make_figure("Calibration, outer rows", "predicted probability", "share seen")
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    groups = np.array_split(np.argsort(score, kind="stable"), min(10, max(1, len(score) // 10)))
    predictions = np.array([score[g].mean() for g in groups])
    shares = np.array([target[g].mean() for g in groups])
    low, high = _compute_wilson(shares, np.array([len(g) for g in groups]))
    axes.vlines(predictions, low, high, color=SERIES[0], linewidth=1.2, alpha=0.5)
    axes.plot(predictions, shares, "o-", color=SERIES[0], markersize=4, linewidth=1.4)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return figure


def _compute_wilson(share: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


def plot_scores(target: np.ndarray, score: np.ndarray, classes: Sequence[Any]) -> Figure:
    """How the predicted probability is spread in each class. Of each row `target` is 0 or 1, and `score` the
    probability of 1."""
    figure, axes = _make_figure("Predicted probability by class", "predicted probability", "share of the class's rows")
    edges = [k / 25 for k in range(26)]
    for code, colour in ((0, SERIES[8]), (1, SERIES[0])):
        scores = score[target == code]
        if len(scores):
            label = shorten(classes[code], 20)
            axes.hist(
                scores, edges, weights=np.full(len(scores), 1 / len(scores)), color=colour, alpha=0.6, label=label
            )
    axes.legend(loc="upper center")
    return figure


def plot_confusion(target: np.ndarray, predicted: np.ndarray, classes: Sequence[Any], most: int = 12) -> Figure:
    """Of each class's rows, how many were taken for which class; rare classes beyond `most` as one. `target` and
    `predicted` have a code for each row."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (target, predicted), 1)
    names = [shorten(c, 16) for c in classes]
    if len(classes) > most:
        counts, names = _lump_classes(counts, names, most)
    size = min(2.2 + 0.42 * len(names), WIDE - 0.6)
    figure, axes = _make_figure("Confusion, outer rows", "predicted", "true", (size + 0.6, size))
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.grid(visible=False)
    for (row, column), count in np.ndenumerate(counts):
        colour = SERIES[2] if row == column else SERIES[3]
        axes.add_patch(_make_box(column, row, colour, 0.08 + 0.8 * share[row, column] if count else 0.0))
        text = f"{count:,}" if count else ""
        axes.text(column, row, text, ha="center", va="center", fontsize=8 if len(names) <= 6 else 6)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    axes.tick_params(length=0)
    return figure


def _make_box(x: float, y: float, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=colour, alpha=min(1.0, alpha), linewidth=0)


def _lump_classes(counts: np.ndarray, names: list[str], most: int) -> tuple[np.ndarray, list[str]]:
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    group = np.full(len(names), most - 1)
    group[order[: most - 1]] = np.arange(most - 1)
    matrix = np.zeros((most, most), dtype=int)
    np.add.at(matrix, (group[:, None], group[None, :]), counts)
    return matrix, [*[names[k] for k in order[: most - 1]], f"{len(names) - most + 1} others"]


def plot_predicted_true(target: np.ndarray, prediction: np.ndarray) -> Figure:
    """Predicted against true values, both (rows,)."""
    figure, axes = _make_figure("Predicted and true, outer rows", "predicted", "true")
    rows = _sample_rows(len(target))
    ends = choose_window(np.concatenate([target, prediction]))
    axes.plot(ends, ends, color=GRID, linewidth=1)
    _plot_dots(axes, prediction[rows], target[rows], ends, ends)
    return figure


def plot_residuals(target: np.ndarray, prediction: np.ndarray) -> Figure:
    """True minus predicted, along the predicted value. Both arrays are (rows,)."""
    figure, axes = _make_figure("Residuals, outer rows", "predicted", "true minus predicted")
    rows = _sample_rows(len(target))
    axes.axhline(0, color=GRID, linewidth=1)
    gaps = target - prediction
    _plot_dots(axes, prediction[rows], gaps[rows], choose_window(prediction), choose_window(gaps))
    return figure


def plot_residual_spread(target: np.ndarray, prediction: np.ndarray) -> Figure:
    """How the residuals are spread. Both arrays are (rows,)."""
    figure, axes = _make_figure("Spread of the residuals", "true minus predicted", "rows")
    gaps = target - prediction
    axes.hist(np.clip(gaps, *choose_window(gaps)), 40, color=SERIES[0], alpha=0.75)
    axes.axvline(0, color=INK, linewidth=0.8)
    return figure


def _plot_dots(
    axes: Axes, x: np.ndarray, y: np.ndarray, x_window: tuple[float, float], y_window: tuple[float, float]
) -> None:
    """The rows as dots; those beyond either window as crosses at its edge."""
    alpha = float(np.clip(200 / max(1, len(x)), 0.08, 0.6))
    points = np.clip(x, *x_window), np.clip(y, *y_window)
    outliers = (points[0] != x) | (points[1] != y)
    axes.scatter(
        points[0][~outliers],
        points[1][~outliers],
        s=9,
        alpha=alpha,
        color=SERIES[0],
        linewidths=0,
        rasterized=len(x) > 300,
    )
    if outliers.any():
        label = f"{outliers.sum():,} farther out"
        axes.scatter(
            points[0][outliers], points[1][outliers], s=22, marker="x", color=SERIES[3], linewidths=1.2, label=label
        )
        axes.figure.legend(loc="outside lower right", fontsize=7.5)  # pyright: ignore


def _sample_rows(count: int) -> np.ndarray:
    """All rows, or as many as a plot can show, evenly taken."""
    return np.arange(count) if count <= _MOST_POINTS else np.linspace(0, count - 1, _MOST_POINTS).astype(int)


def _pick_colours(names: Iterable[str]) -> list[str]:
    return [SERIES[k % len(SERIES)] for k, _ in enumerate(names)]


def plot_schedules(
    setting: str, members: Iterable[Schedule], picks: Iterable[Schedule], references: Iterable[Schedule] = ()
) -> Figure:
    """A setting that changes while models are trained, by the rounds trained so far: every member's thin, the chosen
    ones' thick, and others dashed beside them."""
    figure, axes = _make_figure("", "rounds", shorten(setting, 40), (WIDE, 2.8))
    thin: Any = {"color": SERIES[8], "linewidth": 0.8, "alpha": 0.5}
    for lines, style in (
        (members, thin),
        (references, {"color": SERIES[1], "linewidth": 1.6, "linestyle": "--"}),
        (picks, {"color": SERIES[0], "linewidth": 2.2}),
    ):
        for schedule in lines:
            ends = np.cumsum([count for count, _ in schedule])
            values = [settings[setting] for _, settings in schedule]
            axes.step([0, *ends], [values[0], *values], where="pre", **style)
    low, high = axes.dataLim.intervaly
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # powers of ten are written as formulas, which nobody reads here
    return figure


def plot_then_now(title: str, bars: Sequence[tuple[str, float, float]]) -> Figure:
    """Shares of rows by cell, in training and now, side by side."""
    figure, axes = _make_figure(shorten(title, 44), "share of rows", "", (3.5, 1.0 + 0.24 * len(bars)))
    places = np.arange(len(bars))
    axes.barh(places - 0.2, [share for _, share, _ in bars], 0.38, color=SERIES[8], label="training")
    axes.barh(places + 0.2, [share for _, _, share in bars], 0.38, color=SERIES[0], label="now")
    axes.set_yticks(places, [shorten(name, 22) for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=2, fontsize=7.5)
    return figure
