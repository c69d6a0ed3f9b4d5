"""One watch's settings."""

from __future__ import annotations

from pydantic import Field

from models.config.values import Bound, Data, ModelName, Settings


class Watch(Settings):
    """New rows against what the champion was trained on: do columns, predictions or scores drift?"""

    name: ModelName
    """The model's name in the registry; its champion is watched."""
    data: Data
    """The new rows, with or without the target, as in a run."""
    query: str | None = None
    """SQL, where the data is a database address."""
    bound: Bound = {}
    """Values for the query's `:name`s, such as `today-7d`."""
    level: float = Field(default=0.01, gt=0, lt=0.5)
    """How often all columns together may give a false alarm."""
    psi: float = Field(default=0.1, ge=0)
    """A column drifts only if its population stability index is at least this: a tiny shift of many rows is none."""
    alarm: bool = True
    """Whether drift sends the event `nestor.drift`, which may trigger a retraining."""
    notify: str | None = None
    """A Prefect notification block that is told of drift, such as `slack-webhook/team`."""
    unsafe: bool = False
    """Whether the champion is loaded where it is a pickle (tag `nestor.unsafe`): that runs whatever code it names."""
