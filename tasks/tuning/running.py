"""The studies of a plan while they run: what the threads that tune share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from models.tuning.trial import Trial
from tasks.tuning.deadline import Deadline
from tasks.tuning.shared_fits import SharedFits
from tasks.values import RunPlan, Studies, advance


class RunningStudies:
    """The trials so far, and whether the search goes on. Tuning alone holds it; what it hands on is `Studies`."""

    def __init__(self, plan: RunPlan):
        """No study has begun."""
        self.plan = plan
        self.trials: dict[tuple[str, str], list[Trial]] = {}
        self.broken: dict[tuple[str, str], str] = {}
        self.deadline = Deadline(plan, self.trials)
        self.shared_fits = SharedFits()
        self.stopped = False
        """Whether the run was stopped: what is cut short then is no result."""
        self._is_over = False
        self._news = threading.Condition()

    def may_search(self) -> bool:
        """Whether more configurations may be tried."""
        return not (self.stopped or self._is_over) and self.deadline.may_search()

    def end_search(self) -> None:
        """Ends the search for good, because what is left of the time is needed for the end."""
        self._is_over = True

    def stop(self) -> None:
        """Ends every fit at once; threads that tune come to their end."""
        self.stopped = True
        self.plan.context.end_fits()

    def tell_others(self) -> None:
        """Wakes those who wait for the first trials of other studies."""
        with self._news:
            self._news.notify_all()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Waits for news until it is true; whether it is."""
        with self._news:
            return self._news.wait_for(condition, timeout=timeout)

    def take_snapshot(self, fold: str | None = None) -> Studies:
        """The trials so far, as a value; those of one fold alone where it is named, which is cheap enough for each
        trial."""
        studies = list(self.trials.items())
        trials = {key: tuple(study) for key, study in studies if fold in (None, key[1])}
        return advance(Studies, self.plan, trials=trials, broken=dict(self.broken))
