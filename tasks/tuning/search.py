"""The search of a run: every family on every outer fold, side by side, from the moment that the plan is made.

It needs no Prefect: a command begins it while Prefect's server starts, and the flow's tasks wait for what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from models.errors import NestorError
from tasks.run.stage import TUNE
from tasks.system.disk import is_full, make_full_disk_error
from tasks.tuning import tune
from tasks.tuning.running import RunningStudies
from tasks.values import RunPlan, Studies

log = logging.getLogger("nestor.search")

ATTEMPTS = 2
"""How often a study is begun: what breaks once, such as a connection or a file, may hold the next time."""


class Search:
    """The studies of a plan at work, each in a thread of its own."""

    def __init__(self, plan: RunPlan, refit_ahead: Callable[[Studies], Sequence[str]] | None = None):
        """Begins all studies. `refit_ahead` as in `limit_search_time`."""
        self.running = RunningStudies(plan)
        self._stage = ExitStack()
        self._stage.enter_context(plan.context.enter_stage(TUNE))
        self._stage.enter_context(tune.limit_search_time(self.running, refit_ahead))
        keys = [(name, fold) for name in plan.scope.families for fold in plan.folds]
        self._threads = ThreadPoolExecutor(len(keys), thread_name_prefix="study")
        self._studies: dict[tuple[str, str], Future[None]] = {
            key: self._threads.submit(_tune_study, self.running, *key) for key in keys
        }

    def await_study(self, family_name: str, fold: str) -> int:
        """How many trials the study has, once it has ended; what ended the run is raised."""
        self._studies[family_name, fold].result()
        return len(self.running.trials.get((family_name, fold), ()))

    def end(self) -> Studies:
        """All studies, once the last has ended; what ended the run is raised."""
        for study in self._studies.values():
            study.result()
        self._stage.close()
        self._threads.shutdown()
        self.running.deadline.grant_end()
        return self.running.take_snapshot()

    def stop(self) -> None:
        """Ends every fit at once, and with them the studies, unless the search is over already."""
        if not all(study.done() for study in self._studies.values()):
            self.running.stop()
        self._stage.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _tune_study(running: RunningStudies, family_name: str, fold: str) -> None:
    """One family on one outer fold. What breaks twice ends here and costs no other."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return tune.tune(running, family_name, fold)
        except NestorError:
            raise
        except Exception as error:
            if is_full(error):
                raise make_full_disk_error(error) from None
            log.warning("%s/%s broke at attempt %d of %d.", family_name, fold, attempt, ATTEMPTS, exc_info=True)
            if attempt == ATTEMPTS:
                tune.record_broken_study(running, family_name, fold, error)
    return None
