"""What settings are made of: frozen values, names, durations, and a table that may be named or given."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_DURATION = r"^\s*(\d+(\.\d+)?\s*(s|min|m|h|d)?\s*)+$"
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def duration(text: object) -> object:
    """The seconds in a number or a text such as `90`, `90s`, `10m`, `1h30m`; any other value as it came."""
    if not isinstance(text, str):
        return text
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    whole = "".join(n + u for n, u in parts)
    if not parts or whole != re.sub(r"\s", "", text.lower()) or any(u not in _UNITS for _, u in parts):
        raise ValueError(f"a duration such as 90s, 10m or 1h30m is wanted, not {text!r}")
    return sum(float(n) * _UNITS[u] for n, u in parts)


Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _DURATION}, {"type": "number"}]}),
]
"""Seconds; a text such as 10m or 1h30m becomes seconds."""


def _parted(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_parted)]


def _described(data: object) -> str:
    return f"DataFrame of {len(data)} rows, {data.shape[1]} columns" if isinstance(data, pd.DataFrame) else str(data)


Data = Annotated[
    Any,
    PlainSerializer(_described, return_type=str),
    WithJsonSchema({"type": "string", "title": "Data"}),
]


class Settings(BaseModel):
    """What all settings have in common: frozen, no unknown names, a sentence for each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)
