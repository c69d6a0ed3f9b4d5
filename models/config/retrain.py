"""One retraining's settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from models.config.gate import Gate
from models.config.places import unfold_groups
from models.config.run import Run
from models.config.values import Bound, Data, Duration, ModelName, Settings, make_pairs_schema, parse_pairs


def _unfold_run(value: object) -> object:
    return unfold_groups(parse_pairs(value), Run)


Changes = Annotated[dict[str, Any], BeforeValidator(_unfold_run), make_pairs_schema(".+")]
"""Fields of a run with their new values; in a form and in lists `search.families=lightgbm`."""


class Retrain(Settings):
    """New data for a model that exists: checked, trained on, and the challenger meets the champion."""

    name: ModelName
    """The model's name in the registry."""
    data: Data | None = None
    """The new table, as in a run; empty: where the last run found its table, read anew."""
    query: str | None = None
    """SQL, where the data is a database address; empty: as in the last run."""
    bound: Bound = {}
    """Values for the query's `:name`s, such as `today-7d`; what is not given is as in the last run."""
    budget: Duration | None = Field(default=None, gt=0)
    """Wall time of the training, such as 10m; empty: as in the last run."""
    changes: Changes = {}
    """Fields of a run to set otherwise than the last run did: `search.families=lightgbm`, `split.outer=3`."""
    gate: Gate = Gate()
    columns: Literal["stop", "adapt"] = "stop"
    """Where columns are missing or of another type than the champion knows: stop, or train on what there is."""
    warm: bool = True
    """Whether the last run's best configurations are tried right after each default."""
    new_seal: bool = False
    """Seal other rows than the name has sealed so far, by today's columns and settings: where its key columns are gone,
    or the sealed rows have decided too often. It is written down with its reason."""
    force: bool = False
    """Train although data, settings and libraries are those of the last run."""
    needs_new: bool = False
    """Nothing new to train on is a failure, and not a good end: for a retraining that something has asked for."""
    overlap: Literal["refuse", "queue"] = "refuse"
    """What to do while another retraining of this model is at work."""
    notify: str | None = None
    """A Prefect notification block that is told how it ended, such as `slack-webhook/team`."""
    unsafe: bool = False
    """Whether the champion is loaded where it is a pickle (tag `nestor.unsafe`): that runs whatever code it names."""
