"""What a model costs: milliseconds for one row, and size. Measured where it was fitted, and again when it is delivered.

Latency is CPU time of one thread, so that what else runs on the machine counts little: the median of repeats, each over
another row, after a few that warm it up."""

from __future__ import annotations

import os
import pickle
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tasks.run.folder import Workdir

ROWS = 15
"""Rows over which latency is measured, one at a time."""
_WARM = 5
_LONG = 0.5
"""Seconds after which no more rows are measured; a few always are."""


def measure_latency(function: Callable[[Any], object], rows: Sequence[Any]) -> float:
    """The median of milliseconds that the function takes for one of these rows, in one thread."""
    times: list[float] = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in rows[:_WARM]:
            function(row)
        for row in rows:
            start = time.thread_time()
            function(row)
            times.append(time.thread_time() - start)
            if sum(times) > _LONG and len(times) > 2:
                break
    return 1000 * float(np.median(times))


def measure_model_latency(model: Any, frame: pd.DataFrame) -> float:
    """Milliseconds in which the model predicts one row: probabilities where it has them."""
    return measure_latency(getattr(model, "predict_proba", model.predict), split_into_rows(frame))


def measure_model_file(model: str, workdir: str) -> dict[str, float]:
    """Latency and size of a model in a file, over a run's work rows; in a worker, where nothing else is going on."""
    estimator = pickle.loads(Path(model).read_bytes())
    return {
        "latency": measure_model_latency(estimator, Workdir(Path(workdir)).read_frame("work")),
        "size": measure_size(estimator),
    }


def split_into_rows(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of the table, each as a table of its own."""
    # Copies: of a mapped table each column lies apart, which makes a wide row slower than it is at the consumer's.
    return [frame.iloc[[place]].copy() for place in range(min(ROWS, len(frame)))]


class _ArrayCounter(pickle.Pickler):
    """Counts what it pickles."""

    arrays = 0

    def reducer_override(self, obj: Any) -> Any:
        """Leaves every object to the usual way."""
        self.arrays += isinstance(obj, np.ndarray)
        return NotImplemented


def count_arrays(model: Any) -> int:
    """How many arrays it is made of: skops writes each as a file of its own."""
    with open(os.devnull, "wb") as nowhere:
        counter = _ArrayCounter(nowhere, protocol=5)
        counter.dump(model)
    return counter.arrays


def measure_size(model: Any) -> float:
    """Size of the pickled object."""
    return len(pickle.dumps(model, protocol=5)) / 1e6
