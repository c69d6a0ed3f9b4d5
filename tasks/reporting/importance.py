"""What mattered in a run's searches: reckoned and drawn by a worker process while the version is being registered.

Nothing waits for it longer than the budget allows: what is not ready then is left out, and where it is of the delivered
model the run says so."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.analysis import plots
from models.analysis.importance import Importance, TrialTable, gather_trials, measure_importance
from models.analysis.search_plots import plot_search
from models.errors import join_names
from models.families import load_families
from models.tuning.trial import Trial
from tasks.execution.pool import FitError
from tasks.reporting.page_parts import to_svg, to_svg_file
from tasks.run.ledger import EXIT

if TYPE_CHECKING:
    from models.metrics.metric import Metric
    from tasks.evaluation.evaluate import Evaluation

DRAW = 2
"""First part of its priority: after whatever else there may be."""
_AFTERWARDS = 4.0
"""Seconds that are kept for the report and for MLflow once the version is registered."""
_LONGEST = 60.0
_LATE = "out of time"


@dataclass(frozen=True)
class ImportanceFigures:
    """One family's search."""

    importance: Importance
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Name -> SVG element and caption."""


def draw_importance(
    studies: Mapping[str, Sequence[Trial]], greater_is_better: bool, metric: str, seed: int
) -> ImportanceFigures:
    """What mattered in the studies of one family, with its figures."""
    table = gather_trials(studies, greater_is_better)
    return draw_figures(table, measure_importance(table, seed), metric, seed)


def draw_figures(table: TrialTable, importance: Importance, metric: str, seed: int) -> ImportanceFigures:
    """What mattered, with its figures."""
    with plots.apply_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font for measuring lacks
        drawings = plot_search(table, importance, metric, seed)
        return ImportanceFigures(
            importance, {name: (to_svg(figure, caption), caption) for name, (figure, caption) in drawings.items()}
        )


def _draw_in_worker(*arguments: Any) -> ImportanceFigures:
    """`draw_importance` in a worker process, at the lowest priority: the process that registers is at a low one."""
    os.nice(19)
    return draw_importance(*arguments)


class ImportanceQueue:
    """The searches of one run, drawn one after the other, those of the delivered model first."""

    def __init__(self, evaluation: Evaluation):
        """Begins at once."""
        self.evaluation, self.made, self.lack = evaluation, dict[str, ImportanceFigures](), dict[str, str]()
        ranked = sorted(evaluation.families, key=lambda f: -f.weight)
        self.wanted = [f.name for f in ranked if load_families()[f.name].tunable]
        limited = evaluation.context.ledger.limit is not None
        self.awaited = [f.name for f in ranked if f.name in self.wanted and (f.weight or not limited)]
        """Under a budget of time the others are drawn as far as registering takes anyhow."""
        self._over, self._enough = False, threading.Event()
        threading.Thread(target=self._draw, daemon=True, name="importance").start()

    def _draw(self) -> None:
        try:
            for place, name in enumerate(self.wanted):
                if place == len(self.awaited):
                    self._enough.set()
                if not self._over:
                    self._draw_family(place, name)
        finally:  # whatever happens here, the run's end does not wait for ever
            self._enough.set()

    def _draw_family(self, place: int, name: str) -> None:
        try:
            self.made[name] = self._submit(place, name).result()
        except FitError as error:
            self.lack[name] = error.reason

    def _submit(self, place: int, name: str) -> Future[ImportanceFigures]:
        metric, seed = self.evaluation.metric, self.evaluation.run.seed
        studies = self.evaluation.list_family_trials(name)
        arguments = studies, metric.greater_is_better, metric.name, seed
        return self.evaluation.context.pool.submit(
            _draw_in_worker, *arguments, priority=(DRAW, place), timeout=_LONGEST
        )

    def collect(self) -> dict[str, ImportanceFigures]:
        """What there is, by family, as soon as what is awaited is done or the time is up."""
        ledger = self.evaluation.context.ledger
        self._enough.wait(None if ledger.limit is None else max(0.0, ledger.left - EXIT - _AFTERWARDS))
        self._over, searches = True, dict(self.made)
        self.evaluation.context.pool.cancel(lambda priority: priority[0] == DRAW)
        families = [name for name in self.awaited if name not in searches]
        for reason in dict.fromkeys(self.lack.get(name, _LATE) for name in families):
            names = [name for name in families if self.lack.get(name, _LATE) == reason]
            self.evaluation.context.note(
                f"Skipped: which hyperparameters of {join_names(names, 20)} mattered ({reason})."
            )
        return searches


def write_importance(searches: Mapping[str, ImportanceFigures], metric: Metric, folder: Path) -> None:
    """Writes `importance.json`, and each figure as a file of its own under `figures/`."""
    families = {name: asdict(search.importance) for name, search in searches.items()}
    values = {"metric": metric.name, "greater_is_better": metric.greater_is_better, "families": families}
    (folder / "importance.json").write_text(json.dumps(values, indent=1, ensure_ascii=False), "utf-8")
    for family, search in searches.items():
        for name, (text, _) in search.figures.items():
            place = folder / "figures" / family
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.svg").write_text(to_svg_file(text), "utf-8")
