"""One penalty, or one length of a kernel, for each group of columns, found by gradients and by other searches:
`python -m benchmarks.gradient TABLE:TARGET ... [--trials 41] [--seeds 3] [--rows 4000]
[--models l2,elasticnet,kernel] [--figure docs/gradient.svg]`.

The families are `banded` and `kernel`; the loss is log loss, or the root of the mean squared error. No grid over ten
hyperparameters can be paid for (two values of each are a thousand fits), so `grid` has what people do instead: one
common penalty (the family `linear`), or one length and one penalty (`svm`), in as many values as there are trials. A
seed is an outer fold with its own draws: the inner loss is the
mean over its four inner folds, the outer one that of the best configuration refitted, on the fold's own rows. Seconds
are those of the processor, the gradients' share among them; the columns are prepared before."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.lay_out import lay_out
from benchmarks.search.problem import INNER, PLAN, Problem, prepare_process
from benchmarks.stamp import print_table
from models.analysis import plots
from models.families import load_family
from models.metrics.metric import Metric
from models.studies.study import Study
from models.tuning.goal import find_best_trial
from models.tuning.space import apply_ranges, list_distributions
from models.tuning.trial import Trial
from tasks.execution import worker
from tasks.execution.job import FitJob, FitResult
from tasks.reporting.page_parts import to_svg, to_svg_file
from tasks.run.folder import Workdir

SEARCHES = ("gradient", "tpe", "random", "grid")

MODELS = {
    "l2": ("banded", "linear", {"penalty": "l2"}),
    "elasticnet": ("banded", "linear", {"penalty": "elasticnet"}),
    "kernel": ("kernel", "svm", {"kernel": "rbf", "machine": "smooth", "components": 300}),
}
"""What is fitted: the family, that of a grid, and what both hold."""

AFTER = (1, 5, 9, 21, 41, 61)
"""Trials after which the inner loss is shown."""


@dataclass(frozen=True)
class SearchResult:
    """One search on one fold."""

    losses: np.ndarray
    """The best inner loss so far, after each trial."""
    seconds: np.ndarray
    """Spent by then."""
    outer: float
    """Of the best configuration, on rows that the search had not seen."""


def main() -> None:
    """Prints one table; its rows are also told on standard error as soon as they are there."""
    asked = _parse_arguments()
    prepare_process(os.getpid())
    rows, curves = [], {}
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        for place in asked.tables:
            file, _, target = place.rpartition(":")
            laid = _lay_out_table(Path(file), target, asked.rows, Path(folder))
            for model in asked.models.split(","):
                found = {name: _run_seeds(laid, name, model, asked) for name in asked.searches.split(",")}
                curves[f"{laid.name}, {model}"] = found
                for row in _make_rows(laid, model, found):
                    rows.append(row)
                    print(" | ".join(row), file=sys.stderr, flush=True)
    shown = ["default", *(f"{n} trials" for n in AFTER[1:] if n <= asked.trials)]
    head = ("table", "model", "search", "hyperparameters", *shown, "outer", "core-seconds", "beats tpe's last after")
    title = f"One hyperparameter for each group of columns, {asked.trials} configurations, {asked.seeds} seeds"
    print_table(title, head, rows)
    if asked.figure:
        asked.figure.write_text(_draw_figure(curves), "utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", help="files with their targets: FILE:TARGET")
    parser.add_argument("--trials", type=int, default=41)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--rows", type=int, default=4000, help="drawn from larger tables")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--searches", default=",".join(SEARCHES))
    parser.add_argument("--figure", type=Path, help="a file for the picture of it")
    return parser.parse_args()


def _lay_out_table(file: Path, target: str, rows: int, folder: Path) -> Path:
    """The table's folder; classes are judged by log loss, whose derivative it is that the search gets."""
    place = lay_out(file, target, {}, rows, folder)
    brief = Workdir(place).read_pickle(f"briefs/{PLAN}")
    metric = "rmse" if brief.task == "regression" else "log_loss"
    Workdir(place).write_pickle(f"briefs/{PLAN}", replace(brief, metric=metric))
    return place


def _make_problem(folder: Path, search: str, model: str) -> Problem:
    """The family with what is held of it, and the same way with long tails everywhere."""
    searched, common, held = MODELS[model]
    whole = Problem(folder.name, load_family(common if search == "grid" else searched), folder)
    held = held | {"log_target": True, "selected": 1.0}
    ranges = {name: value for name, value in held.items() if name in list_distributions(whole.family, whole.shape)}
    return replace(whole, family=apply_ranges(whole.family, ranges, whole.shape))


def _run_seeds(folder: Path, search: str, model: str, asked: argparse.Namespace) -> list[SearchResult]:
    """The search with each seed."""
    problem = _make_problem(folder, search, model)
    return [_run_search(problem, search, seed, asked.trials) for seed in range(asked.seeds)]


def _run_search(problem: Problem, search: str, seed: int, trials: int) -> SearchResult:
    view, fold = problem.view(seed, trials), str(seed + 1)
    if search == "grid":
        view = replace(view, steps=_choose_steps(_list_free_names(problem), trials - 1))
    study = Study(view, fold, search)
    _fit_trial(problem, fold, study.ask()[0])  # prepares the columns
    seconds = []
    while len(study.told) < trials:
        began = time.process_time()
        asked = study.ask(trials - len(study.told))
        if not asked:
            break
        planning = (time.process_time() - began) / len(asked)
        done = [_fit_trial(problem, fold, trial) for trial in asked]
        seconds += [planning + trial.seconds for trial in done]
        study.tell(done)
    return SearchResult(
        _accumulate_best(study.told, problem.metric), np.cumsum(seconds), _score_outer(problem, fold, study)
    )


def _list_free_names(problem: Problem) -> list[str]:
    """The hyperparameters that are searched."""
    return [name for name, one in list_distributions(problem.family, problem.shape).items() if not one.single()]


def _choose_steps(names: Sequence[str], trials: int) -> dict[str, int]:
    """As many values of one, or of two that multiply, as the trials allow; three of `l1_ratio`."""
    if names == ["strength"]:
        return {"strength": trials}
    rare, often = (3, trials // 3) if "l1_ratio" in names else (int(trials**0.5),) * 2
    return {name: rare if name == "l1_ratio" else often for name in names}


def _fit_trial(problem: Problem, fold: str, trial: Trial) -> Trial:
    """The trial with its scores, its mean gradient and its processor seconds."""
    began = time.process_time()
    fits = [_run_fit(problem, fold, trial, inner) for inner in range(INNER)]
    gradient = trial.gradient
    if gradient is not None:
        gradient = {n: float(np.mean([(f.gradient or {})[n] for f in fits])) for n in fits[0].gradient or {}}
    scores = tuple(float("nan") if f.score is None else f.score for f in fits)
    return replace(trial, scores=scores, gradient=gradient, seconds=time.process_time() - began)


def _run_fit(problem: Problem, fold: str, trial: Trial, inner: int | None) -> FitResult:
    wanted = trial.gradient is not None and inner is not None
    job = FitJob(str(problem.folder), PLAN, problem.family.name, fold, trial.number, dict(trial.config), inner,
              gradient=wanted)  # fmt: skip
    done = worker.run_fit(job)
    Path(problem.folder, job.file + ".json").unlink()  # another search's trial of that number is another fit
    return done


def _score_outer(problem: Problem, fold: str, study: Study) -> float:
    best = find_best_trial(study.told, problem.metric)
    assert best is not None, "the default can be fitted"
    score = _run_fit(problem, fold, best, None).score
    assert score is not None, "every outer fold has rows to judge"
    return score


def _accumulate_best(told: Sequence[Trial], metric: Metric) -> np.ndarray:
    inner = [np.inf if t.inner is None or not np.isfinite(t.inner) else t.inner for t in told]
    assert not metric.greater_is_better, "log loss and rmse are losses"
    return np.minimum.accumulate(inner)


def _make_rows(folder: Path, model: str, found: Mapping[str, list[SearchResult]]) -> Iterator[tuple[str, ...]]:
    """A row for each search, means over the seeds. A grid may end some trials before the others."""
    trials = max(len(one.losses) for runs in found.values() for one in runs)
    for name, runs in found.items():
        losses = np.mean([_pad_values(one.losses, trials) for one in runs], axis=0)
        count = len(_list_free_names(_make_problem(folder, name, model)))
        shown = [f"{losses[n - 1]:.5g}" for n in AFTER if n <= trials]
        yield (
            folder.name, model, name, str(count), *shown, f"{np.mean([one.outer for one in runs]):.5g}",
            f"{np.mean([one.seconds[-1] for one in runs]):.3g}", _describe_reach(runs, found.get("tpe", runs)),
        )  # fmt: skip


def _pad_values(values: np.ndarray, length: int) -> np.ndarray:
    return np.append(values, np.repeat(values[-1], length - len(values)))


def _describe_reach(runs: Sequence[SearchResult], others: Sequence[SearchResult]) -> str:
    """Trials and seconds, means over seeds, until a search is as good as the other one ends."""
    reached = [np.flatnonzero(one.losses <= other.losses[-1]) for one, other in zip(runs, others, strict=True)]
    if not all(len(places) for places in reached):
        return f"{sum(len(places) > 0 for places in reached)} of {len(runs)} seeds do"
    trials = np.mean([places[0] + 1 for places in reached])
    seconds = np.mean([one.seconds[places[0]] for one, places in zip(runs, reached, strict=True)])
    return f"{trials:.0f} trials, {seconds:.2g} s"


def _draw_figure(curves: Mapping[str, Mapping[str, list[SearchResult]]]) -> str:
    """The inner loss against seconds, mean over seeds; a panel for each table and penalty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with plots.apply_style():
        figure = Figure(figsize=(7.2, 2.5 * -(-len(curves) // 2)), layout="constrained")
        FigureCanvasAgg(figure)
        panels: Any = figure.subplots(-(-len(curves) // 2), 2, squeeze=False).ravel()
        for panel, (title, found) in zip(panels, curves.items(), strict=False):
            _draw_panel(panel, title, found)
        for panel in panels[len(curves) :]:
            panel.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(SEARCHES))
        return to_svg_file(to_svg(figure, "Inner loss against seconds, by search"))


def _draw_panel(panel: Any, title: str, found: Mapping[str, list[SearchResult]]) -> None:
    for colour, (name, runs) in zip(plots.SERIES, found.items(), strict=False):
        trials = min(len(one.losses) for one in runs)
        losses, seconds = (np.mean([v[:trials] for v in of], axis=0) for of in
                           ([one.losses for one in runs], [one.seconds for one in runs]))  # fmt: skip
        panel.step(seconds, losses, where="post", color=colour, label=name, linewidth=1.4)
    panel.set_title(title)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlabel("core-seconds")
    panel.set_ylabel("inner loss")


if __name__ == "__main__":
    main()
