"""A narrower space for a model's next search, from all its runs in MLflow."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from models.analysis.importance import Importance, TrialTable, gather_trials, measure_importance
from models.analysis.narrowing import FEWEST, NarrowedRange, narrow_space
from models.errors import InputError
from models.families import load_families
from models.tuning.trial import Trial
from tasks.planning.warm_start import read_studies
from tasks.reporting.hyperparameters import render_importance
from tasks.reporting.importance import draw_figures
from tasks.reporting.page_parts import render_page, render_section, to_html
from tasks.tracking import PastRun, list_finished_runs

OLD = "were made before a run's search spaces were kept"
OTHER = "had another metric or task than the newest one"


@dataclass(frozen=True)
class LearnedSpace:
    """What a family's searches in all runs say."""

    tried: TrialTable
    """Of all runs and folds."""
    importance: Importance
    space: tuple[NarrowedRange, ...]
    """What may be narrowed; empty: nothing."""


@dataclass(frozen=True)
class Suggestion:
    """What the runs of one model say of the spaces of its families."""

    name: str
    runs: tuple[str, ...]
    """Ids of those that it is learned from."""
    metric: str
    families: dict[str, LearnedSpace]
    left_out: dict[str, int]
    """Why -> how many runs say nothing."""


def suggest_spaces(name: str, seed: int = 0) -> Suggestion:
    """What all finished runs of the model say; InputError where there is none, or none with trials enough.

    Only runs with the newest one's metric count: gains of different metrics are no one scale."""
    with tempfile.TemporaryDirectory() as folder:
        runs = list_finished_runs(name, into=folder)
        reasons = [
            OTHER if _read_metric_and_task(run) != _read_metric_and_task(runs[0]) else OLD if not run.searched else ""
            for run in runs
        ]
        usable_runs = [run for run, reason in zip(runs, reasons, strict=True) if not reason]
        studies: dict[str, dict[str, list[Trial]]] = defaultdict(dict)
        for run in usable_runs:
            for family, folds in read_studies(pd.read_parquet(run.trials)).items():
                studies[family] |= {f"{run.run_id}/{fold}": trials for fold, trials in folds.items()}
    direction = bool(usable_runs) and usable_runs[0].searched["greater_is_better"]
    left_out = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons) if reason}
    spaces = {
        family: _learn_space(family, folds, direction, seed) for family, folds in studies.items() if _is_tunable(family)
    }
    if not any(space.importance.trials >= FEWEST for space in spaces.values()):
        raise _make_too_few_error(name, len(usable_runs), spaces, left_out)
    return Suggestion(name, tuple(run.run_id for run in usable_runs), runs[0].report["metric"], spaces, left_out)


def render_suggestion(suggestion: Suggestion, seed: int = 0) -> str:
    """The page: what mattered in each family's searches over all runs, with all figures."""
    searches = {
        name: draw_figures(space.tried, space.importance, suggestion.metric, seed)
        for name, space in suggestion.families.items()
    }
    runs = f"{len(suggestion.runs)} run{'s' * (len(suggestion.runs) != 1)}, {suggestion.metric}"
    head = f'<header>\n<h1>{to_html(suggestion.name, 120)}</h1>\n<div class="meta">{to_html(runs)}</div>\n</header>\n'
    return render_page(
        f"{suggestion.name}: searches",
        [head, render_section("What mattered in all searches", render_importance(searches, tuple(searches)))],
    )


def _read_metric_and_task(run: PastRun) -> tuple[str, str]:
    return run.report["metric"], run.report["task"]


def _is_tunable(family: str) -> bool:
    return family in load_families() and load_families()[family].tunable


def _learn_space(
    family: str, studies: Mapping[str, Sequence[Trial]], greater_is_better: bool, seed: int
) -> LearnedSpace:
    table = gather_trials(studies, greater_is_better)
    importance = measure_importance(table, seed)
    return LearnedSpace(table, importance, narrow_space(table, importance, load_families()[family].default))


def _make_too_few_error(
    name: str, runs: int, spaces: Mapping[str, LearnedSpace], left_out: Mapping[str, int]
) -> InputError:
    family = max(spaces, key=lambda f: spaces[f].importance.trials, default="")
    finding = f"at most {spaces[family].importance.trials} trials of a family ({family})" if family else "no trials"
    others = "".join(f" {count} others {reason}." for reason, count in left_out.items())
    return InputError(
        f"{runs} run{'s' * (runs != 1)} of {name}: {finding}; {FEWEST} are needed to narrow a space.{others} "
        "Train once more, with more --trials or a longer --budget."
    )
