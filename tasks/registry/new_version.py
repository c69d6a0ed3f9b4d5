"""What a run hands to the tracker to be made a version of: paths and plain values, since it goes there as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """A model to be registered."""

    name: str
    """In the registry."""
    model: str
    """A pickle."""
    tested: str | None = None
    """A pickle with the model that was tested, where that is another one."""
    example: str
    """A parquet file with a few rows of features."""
    kinds: Mapping[str, str]
    """Column -> kind."""
    task: str
    classes: Sequence[Any]
    reading: Mapping[str, Any]
    """How the training table was read."""
    trusted: Sequence[str]
    """Types that the model may hold beyond what skops knows."""
    unsafe: Sequence[str] = ()
    """The families in the model that skops can't hold: it is pickled then."""
    beats_constant: bool
    """Whether it may become champion by itself, where there is none."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More that the version says of itself."""
    beside: Sequence[str] = ()
    """Files that are put into the version's folder as they are."""
    description: str = ""
    """What the version's page says first."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the version says of itself, in `nestor.json`."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "kinds": dict(self.kinds),
            "reading": dict(self.reading),
            "trusted": list(self.trusted),
            "unsafe": list(self.unsafe),
            "metrics": dict(self.metrics),
            **self.extra,
        }
