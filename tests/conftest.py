"""What tests share: whole small runs, in a folder of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.config import Run
from tasks.evaluation.evaluate import Evaluation
from tests import runs

# A shell's background jobs and nohup ignore these, and so would whatever a test starts.
for _asked in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_asked) is signal.SIG_IGN:
        signal.signal(_asked, signal.default_int_handler if _asked is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Evaluation]:
    """`trained(run, **how)`: a run without Prefect and MLflow up to its evaluation."""
    count = iter(range(1_000))

    def train(run: Run, **how: Any) -> Evaluation:
        return runs.train_run(run, tmp_path / str(next(count)), **how)

    return train
