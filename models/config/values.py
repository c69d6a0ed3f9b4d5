"""What settings are made of: frozen values, names, durations, and a table that may be named or given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, PlainSerializer, WithJsonSchema

from models.config import form
from models.text.address import mask_address

# Prefect shows the pattern that a text does not match: the comment in it is for who reads that.
_DURATION = r"^(?#a duration such as 90s, 10m or 1h30m) *([0-9]+([.][0-9]+)? *(s|min|m|h|d)? *)+$"
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration(text: object) -> object:
    """The seconds in a number or a text such as `90`, `90s`, `10m`, `1h30m`; any other value as it came."""
    if not isinstance(text, str):
        return text
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    spelling = "".join(n + u for n, u in parts)
    if not parts or spelling != re.sub(r"\s", "", text.lower()) or any(u not in _UNITS for _, u in parts):
        raise ValueError(f"a duration such as 90s, 10m or 1h30m is wanted, not {text!r}")
    return sum(float(n) * _UNITS[u] for n, u in parts)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION}),
]
"""Seconds; a text such as 10m or 1h30m becomes seconds."""


_SPAN = (
    r"^(?#a number of steps such as 24, or a duration such as 24h or 7d)"
    r" *([1-9][0-9]*|([0-9]+([.][0-9]+)? *(s|min|m|h|d) *)+)$"
)


def parse_span(value: object) -> object:
    """Steps or a duration as text: 24 as `24`, `7d` as it came; ValueError for what is neither."""
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    try:
        valid = int(text) > 0 if text.isdecimal() else float(str(parse_duration(text))) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"a number of steps such as 24, or a duration such as 24h or 7d, is wanted, not {value!r}")
    return text


Span = Annotated[str, BeforeValidator(parse_span), WithJsonSchema({"type": "string", "pattern": _SPAN})]
"""A span of time: a count of steps or a duration, as text."""


def to_name(value: object) -> object:
    """The name of a frame's column as text, as the reader writes it: 1 as `1`; any other value as it came."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return str(value) if number else value


Name = Annotated[str, BeforeValidator(to_name)]
"""The name of a column, or a label; a number, as frames have it, is its text."""


_BARRED = r"/:@?%\"'\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
"""Signs that no model's name has: those by which versions are addressed, and those that can't be seen or typed."""
ModelName = Annotated[str, Field(pattern=rf"^[^{_BARRED}\s.\-]([^{_BARRED}]*[^{_BARRED}\s])?$", max_length=100)]
"""A model's name in the registry."""


def to_model_name(text: str) -> str:
    """The text as a model's name; empty where nothing is left of it."""
    return re.sub(r"^[.\-_]+|_+$", "", re.sub(rf"[{_BARRED}.\s]+", "_", text))[:100]


def _parse_names(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, (list, tuple)):
        return tuple(map(to_name, value))
    return value if to_name(value) is value else (to_name(value),)


Names = Annotated[tuple[str, ...], BeforeValidator(_parse_names)]
"""Names, or one text with commas between them."""


def _parse_levels(value: object) -> object:
    """`"0.8,0.9"`, 0.9 and `["0.8,0.9", 0.95]` as numbers each."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(part for item in parts for part in (item.split(",") if isinstance(item, str) else (item,)))


Levels = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(_parse_levels)]
"""Shares between 0 and 1."""


def parse_pairs(value: object) -> object:
    """`["zip=category"]` as `{"zip": "category"}`; any other value as it came."""
    if isinstance(value, dict):
        return {to_name(name): text for name, text in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    parts = [re.match(r"(.+)=(.+)", str(pair)) for pair in value]
    for pair, part in zip(value, parts, strict=True):
        if part is None:
            raise ValueError(f"NAME=VALUE is wanted, not {str(pair)!r}")
    return {part[1].strip(): part[2].strip() for part in parts if part}


def make_pairs_schema(known: str) -> WithJsonSchema:
    """The schema of lines such as `NAME=VALUE`; `known` is the pattern of the value."""
    return WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": f"^.+={known}$"}})


def _parse_bound(value: object) -> object:
    """`["since=a=b"]` as `{"since": "a=b"}`, and numbers and dates, as yaml has them, as text."""
    if isinstance(value, (list, tuple)) and all("=" in str(pair) for pair in value):
        value = dict(str(pair).split("=", 1) for pair in value)
    if not isinstance(value, dict):
        return parse_pairs(value)
    return {k: v if isinstance(v, (bool, dict, list, type(None))) else str(v).strip() for k, v in value.items()}


Bound = Annotated[dict[str, str], BeforeValidator(_parse_bound), make_pairs_schema(".+")]
"""Values for the names in a query; in a form and in lists `since=today-7d`."""


def _parse_range(value: object) -> object:
    """`"0.01, 0.1, log"` as `(0.01, 0.1, "log")`, `"7"` as 7; any other value as it came."""
    if isinstance(value, str):
        parts = [_parse_scalar(part.strip()) for part in value.split(",")]
        return tuple(parts) if len(parts) > 1 else parts[0]
    return tuple(value) if isinstance(value, list) else value


def _parse_scalar(text: str) -> object:
    """What yaml would read: a number, true or false, else the text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _parse_ranges(value: object) -> object:
    pairs = parse_pairs(value)
    return {name: _parse_range(text) for name, text in pairs.items()} if isinstance(pairs, dict) else pairs


Ranges = Annotated[dict[str, Any], BeforeValidator(_parse_ranges), make_pairs_schema(".+")]
"""Ranges of hyperparameters; in a form and in lists `learning_rate=0.01,0.1,log`."""


def _parse_steps(value: object) -> object:
    """`3` and `"3"` as `{"": 3}`: so many for every hyperparameter; lists of `learning_rate=5` as a mapping."""
    return {"": value} if isinstance(value, (int, str)) else parse_pairs(value)


Steps = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=1000)]], BeforeValidator(_parse_steps), make_pairs_schema(" *[0-9]+ *")
]
"""How many values of each hyperparameter; in a form and in lists `learning_rate=5`."""


def _parse_configurations(value: object) -> object:
    """`"learning_rate=0.05, num_leaves=63; learning_rate=0.1"` and lists of such texts as mappings."""
    parts = value if isinstance(value, (list, tuple)) else value.split(";") if isinstance(value, str) else (value,)
    return tuple(_parse_configuration(part) if isinstance(part, str) else part for part in parts)


def _parse_configuration(text: str) -> dict[str, object]:
    parts = [re.match(r"([^=:]+)[=:](.+)", part) for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"NAME=VALUE,NAME=VALUE is wanted, such as learning_rate=0.05,num_leaves=63, not {text!r}")
    return {part[1].strip(): _parse_scalar(part[2].strip()) for part in parts if part}


Configurations = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_parse_configurations)]
"""Values by hyperparameter, for each configuration; as text `learning_rate=0.05,num_leaves=63`."""

Kind = Literal[
    "number", "category", "ordered", "boolean", "date", "day-first", "month-first", "duration", "text", "key", "id",
    "drop",
]  # fmt: skip
Kinds = Annotated[dict[str, Kind], BeforeValidator(parse_pairs), make_pairs_schema(f" *({'|'.join(get_args(Kind))}) *")]
"""Column kinds; in a form and in lists `zip=category`."""


def _parse_orders(value: object) -> object:
    """`["size=S,M,L"]` as `{"size": ("S", "M", "L")}`; any other value as it came."""
    pairs = parse_pairs(value)
    if not isinstance(pairs, dict):
        return pairs
    return {k: tuple(map(str, v)) if isinstance(v, (list, tuple)) else _parse_names(v) for k, v in pairs.items()}


Orders = Annotated[dict[str, Names], BeforeValidator(_parse_orders), make_pairs_schema(".+")]
"""Levels of ordered categories, lowest first; in a form and in lists `size=S,M,L`."""


Sign = Literal["rising", "falling"]
Signs = Annotated[dict[str, Sign], BeforeValidator(parse_pairs), make_pairs_schema(f" *({'|'.join(get_args(Sign))}) *")]
"""Directions of columns; in a form and in lists `age=rising`."""


def _parse_prices(value: object) -> object:
    """`["yes:no=5"]` as `{"yes": {"no": "5"}}`; any other value as it came, labels as text."""
    pairs = parse_pairs(value)
    if isinstance(value, dict) or pairs is value:
        rows = value.items() if isinstance(value, dict) else ()
        labels = {str(k): {str(c): n for c, n in v.items()} if isinstance(v, dict) else v for k, v in rows}
        return labels if isinstance(value, dict) else value
    prices: dict[str, dict[str, str]] = {}
    for pair, cost in cast(dict[str, str], pairs).items():
        actual, colon, predicted = pair.partition(":")
        if not (actual.strip() and colon and predicted.strip()):
            raise ValueError(f"ACTUAL:PREDICTED=COST is wanted, such as yes:no=5, not {pair}={cost}")
        prices.setdefault(actual.strip(), {})[predicted.strip()] = cost
    return prices


Prices = Annotated[
    dict[str, dict[str, FiniteFloat]], BeforeValidator(_parse_prices), make_pairs_schema(" *[-+0-9.eE]+ *")
]
"""What it costs to take one label for another; in a form and in lists `yes:no=5`: a yes that is taken for a no."""


def _parse_class_weight(value: object) -> object:
    """`["yes=5"]` as `{"yes": 5.0}`, `["balanced"]` as `balanced`, labels as text."""
    if value in (None, "balanced", ["balanced"], ("balanced",)):
        return value if value is None else "balanced"
    try:
        pairs = parse_pairs(value.split(",") if isinstance(value, str) else value)
        weights = {str(label): float(weight) for label, weight in cast(dict[Any, Any], pairs).items()}
    except (ValueError, TypeError, AttributeError):
        weights = {}
    if not weights or not all(0 < weight < float("inf") for weight in weights.values()):
        raise ValueError(f"balanced, or positive weights by label such as yes=5, are wanted, not {value!r}")
    return weights


ClassWeight = Annotated[
    Literal["balanced"] | dict[str, float],
    BeforeValidator(_parse_class_weight),
    WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": "^ *balanced *$|^.+= *[0-9.eE+-]+ *$"}}),
]
"""`balanced`, or a weight for each label; in a form and in lists `yes=5`."""


def _describe_data(data: object) -> str:
    if isinstance(data, pd.DataFrame):
        return f"DataFrame of {len(data)} rows, {data.shape[1]} columns"
    return mask_address(str(data))


Limits = Annotated[dict[str, FiniteFloat], BeforeValidator(parse_pairs), make_pairs_schema(" *[-+0-9.eE]+ *")]
"""How much of an objective there may be; in a form and in lists `latency=5`."""


def _parse_pick(value: object) -> object:
    """`["latency=1"]` and `"latency=1,roc_auc=3"` as weights, `["knee"]` as `knee`."""
    choice = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    if choice in (None, "", "knee", "limits"):
        return choice or None
    lines = [value] if isinstance(value, str) else value
    if isinstance(lines, (list, tuple)):
        lines = [part for line in lines for part in str(line).split(",")]
    try:
        weights = {str(name): float(weight) for name, weight in cast(dict[Any, Any], parse_pairs(lines)).items()}
    except (ValueError, TypeError, AttributeError):
        weights = {}
    if not weights or not all(0 <= weight < float("inf") for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"knee, limits, or weights such as roc_auc=3,latency=1 are wanted, not {value!r}")
    return weights


Pick = Annotated[
    Literal["knee", "limits"] | dict[str, float],
    BeforeValidator(_parse_pick),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "pattern": "^ *(knee|limits) *$|^.+= *[0-9.eE+-]+ *$"}}
    ),
]
"""`knee`, `limits`, or a weight for each objective; in a form and in lists `latency=1`."""


Data = Annotated[
    Any,
    PlainSerializer(_describe_data, return_type=str),
    WithJsonSchema({"type": "string", "title": "Data"}),
]


class Settings(BaseModel):
    """What all settings have in common: frozen, no unknown names, a sentence for each field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        field_title_generator=form.make_title,
        json_schema_extra=form.adapt_schema,
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What `repr` shows: no password."""
        for name, value in super().__repr_args__():
            yield name, mask_address(value) if isinstance(value, str) else value
