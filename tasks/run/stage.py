"""The stages of a training, each with one name: on the screen, in the ledger, in Prefect, in the report's seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of a training."""

    name: str
    words: str
    """What it does."""
    begins: float
    """How far a run is when it begins, where trials are counted: most of the time goes into tuning."""


READ = Stage("read", "Reads the table and checks its form.", 0.0)
SEAL = Stage("seal", "Divides the rows into sealed ones and those to work with.", 0.005)
CHECK = Stage("check", "Checks how the features go with the target, among work rows.", 0.01)
PLAN = Stage("plan", "Fixes families and folds: what the time is enough for.", 0.015)
TUNE = Stage("tune", "Searches hyperparameters: every family in every fold.", 0.02)
EVALUATE = Stage("evaluate", "Weighs and refits, judges, and opens the sealed rows once.", 0.90)
REGISTER = Stage("register", "Makes a version in the registry, and the run's report.", 0.97)

STAGES = (READ, SEAL, CHECK, PLAN, TUNE, EVALUATE, REGISTER)
"""In their order."""
