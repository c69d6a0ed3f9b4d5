"""Schedules: settings that change while a model is trained, such as a learning rate that falls.

A configuration with `steps`, a list of [rounds, settings], is trained step by step: so many rounds with these
settings in place of its own, then the next. It is a configuration like any other: fitted from nothing it goes through
the whole schedule, and a refit does too. A checkpoint saves the steps that were trained before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from models.errors import NestorError
from models.fitting.family import Family, FittedModel, TrainingData


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Training that can be taken up."""

    schedule: list[Any]
    """The steps that were trained."""
    state: Any
    """What the family's `steps` goes on from."""


def extend_schedule(
    family: Family, config: Mapping[str, Any], rounds: int, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The configuration with one more step: so many rounds with its own settings, after the schedule of the
    configuration `before` it."""
    settings = {name: config[name] for name in family.explores if name in config}
    # Lists: they are the same when they come back from a file.
    return {**config, "steps": [*(before["steps"] if before else []), [rounds, settings]]}


def count_rounds(config: Mapping[str, Any]) -> int:
    """The rounds of the configuration's whole schedule; 0 without one."""
    return sum(count for count, _ in config.get("steps", ()))


def fit_along_schedule(
    family: Family,
    config: Mapping[str, Any],
    part: TrainingData,
    seed: int,
    threads: int,
    begun: Checkpoint | None = None,
) -> FittedModel:
    """The family fitted along the configuration's schedule, from a checkpoint where that is the schedule's beginning;
    with the checkpoint of its own end. NestorError where the family can't."""
    if family.steps is None:
        raise NestorError(f"{family.name} does not train step by step: it can't follow a schedule.")
    settings = {name: value for name, value in config.items() if name not in ("steps", "rounds")}
    schedule = config["steps"]
    position, result = _count_done_steps(schedule, begun), FittedModel(None, None, begun and begun.state)
    for count, changes in schedule[position:]:
        state = result.checkpoint if position else None
        result = family.steps({**settings, **changes, "rounds": count}, part, seed, threads, state)
        position += 1
    return FittedModel(result.model, None, Checkpoint(schedule, result.checkpoint))


def _count_done_steps(schedule: list[Any], begun: Checkpoint | None) -> int:
    """How many steps of the schedule the checkpoint has behind it; 0 where it is of another schedule."""
    if begun is None or len(begun.schedule) >= len(schedule):
        return 0
    count = len(begun.schedule)
    return count if begun.schedule == schedule[:count] else 0


def describe_changes(config: Mapping[str, Any]) -> dict[str, str]:
    """What changes along the schedule, for people: `schedule.learning_rate` -> `40 x 0.1, 20 x 0.05`, in rounds."""
    changes = {}
    for name in config["steps"][0][1] if "steps" in config else ():
        runs = [(value, sum(count for count, _ in steps)) for value, steps in _group_steps(config["steps"], name)]
        if len(runs) > 1:
            changes[f"schedule.{name}"] = ", ".join(f"{count} x {_format_setting(value)}" for value, count in runs)
    return changes


def _group_steps(schedule: list[Any], name: str) -> groupby:
    """The steps of a schedule by the value of a setting, those that follow each other with the same one together."""
    return groupby(((count, settings[name]) for count, settings in schedule), key=lambda step: step[1])


def _format_setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
