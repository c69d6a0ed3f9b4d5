"""When a challenger becomes champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from models.config.values import Duration, Name, Settings


class Gate(Settings):
    """When a challenger becomes champion: both are scored on the same rows, which neither was trained on."""

    rule: Literal["better", "not_worse"] = "better"
    """`better`: promoted when surely better by more than `min_gain`. `not_worse`: when surely not worse by more than
    `margin`."""
    min_gain: float = Field(default=0.0, ge=0)
    """With `better`: what the challenger must gain at least, in the metric's own unit."""
    margin: float = Field(default=0.0, ge=0)
    """With `not_worse`: what the challenger may lose at most, in the metric's own unit."""
    level: float = Field(default=0.95, gt=0.5, lt=1)
    """How sure: of 20 challengers in a row that are no better than the champion, chance promotes one with a probability
    of 1 - level at most. Each look has its part of that."""
    approval: Literal["auto", "manual"] = "auto"
    """`manual`: the run pauses, and a person decides in Prefect's page with the verdict in sight."""
    wait: Duration = Field(default=86400.0, gt=0)
    """With `manual`: how long the run waits for an answer, such as 2h; then the champion stays."""
    latency: float | None = Field(default=None, gt=0)
    """Most milliseconds that the challenger may take for one row, measured as for the limit `latency`."""
    size: float | None = Field(default=None, gt=0)
    """Most megabytes that the challenger may have on disk."""
    subgroup: Name | None = None
    """A feature whose levels are scored one by one; numbers of more than ten values by fifths."""
    subgroup_loss: float | None = Field(default=None, ge=0)
    """What the challenger may lose at most on any level of `subgroup` that has enough rows."""

    @model_validator(mode="after")
    def _refuse_unread(self) -> Gate:
        """Refuses a setting that nothing would read."""
        if self.subgroup_loss is not None and self.subgroup is None:
            raise ValueError("subgroup_loss is for the levels of a column: name it with subgroup")
        if self.margin and self.rule == "better":
            raise ValueError("margin is for rule not_worse; with rule better, min_gain says how much is asked for")
        if self.min_gain and self.rule == "not_worse":
            raise ValueError("min_gain is for rule better; with rule not_worse, margin says how much may be lost")
        return self
