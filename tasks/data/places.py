"""Columns that lie on a grid, as a signal's or a picture's do."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from models.config import Run
from models.errors import InputError, join_names


def find_kept_columns(kinds: Mapping[str, str], run: Run) -> set[str]:
    """The columns that stay whatever they hold: those whose kind a person gave, and with a grid its places, where a
    corner may be constant in one table and not in the next. InputError where there is not one number for each place."""
    columns = {name for name in kinds if name in {**run.types, **run.order} and kinds[name] not in ("id", "drop")}
    if not run.places:
        return columns
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    if len(numbers) != prod(run.places):
        raise InputError(_explain_misfit(numbers, kinds, run))
    return columns | set(numbers)


def _explain_misfit(numbers: list[str], kinds: Mapping[str, str], run: Run) -> str:
    others = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in ("number", "drop")]
    hint = f" What is no number has no place on it: {join_names(others, 4)}." if others else ""
    return (
        f"The grid {run.grid} has {prod(run.places):,} places, and there are {len(numbers):,} columns of numbers "
        f"({join_names(numbers, 4)}): one for each place is needed, row by row.{hint} Drop what lies outside, "
        "or say by --type COL=KIND how a column is to be read."
    )
