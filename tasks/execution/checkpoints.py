"""Checkpoints of trainings that others go on from, beside the results of the fits that made them.

They save time and nothing else: a training whose checkpoint is missing or broken goes through its whole schedule."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from models.fitting.schedule import Checkpoint
from tasks.run.folder import Workdir

_FOLDER = "checkpoints"
"""A folder of its own for each trial, so that they go without the results."""


def locate_checkpoint(file: str) -> str:
    """Where the checkpoint of the fit with this result lies, without ending."""
    place = Path(file)
    return str(place.parent / _FOLDER / place.name)


def read_checkpoint(workdir: Workdir, file: str) -> Checkpoint | None:
    """The checkpoint of the fit with this result; None where there is none that can be read."""
    try:
        checkpoint = workdir.read_pickle(locate_checkpoint(file))
    except Exception:  # what a broken pickle raises may be anything
        return None
    return checkpoint if isinstance(checkpoint, Checkpoint) else None


def write_checkpoint(workdir: Workdir, file: str, checkpoint: Checkpoint) -> None:
    """Keeps the checkpoint of the fit with this result."""
    workdir.write_pickle(locate_checkpoint(file), checkpoint)


def remove_checkpoints(workdir: Workdir, study: str, needed: Collection[int] = ()) -> None:
    """Removes the checkpoints of a study, the folder of its trials' results, but for those of the trials needed."""
    for folder in (workdir.path / study).glob(f"*/{_FOLDER}"):
        if folder.parent.name not in {str(number) for number in needed}:
            shutil.rmtree(folder, ignore_errors=True)
