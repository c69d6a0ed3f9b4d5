"""Where a setting stands among the others: `families.lightgbm.space.learning_rate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from models.config.values import Settings, parse_pairs
from models.config.written import apply_yaml_types
from models.text.safe import shorten


def is_settings(kind: Any) -> bool:
    """Whether a field of that kind is a group of settings."""
    return isinstance(kind, type) and issubclass(kind, Settings)


def find_named_settings(kind: Any) -> type[Settings] | None:
    """The settings of each name, where a field of that kind has some for each of several names; else None."""
    group = get_args(kind)[1] if get_origin(kind) is dict else None
    return group if is_settings(group) else None


def find_field_kind(kind: Any, name: str) -> Any:
    """The kind of what has that name in a group; None where there is no such thing."""
    if not is_settings(kind):
        return find_named_settings(kind)
    field = kind.model_fields.get(name)
    return field.annotation if field else None


def unfold_groups(values: Any, kind: Any) -> Any:
    """The values of a group with names such as `search.trials` as groups, and so in every group among them; lines such
    as `lightgbm.steps=3` are values too where each name has settings. ValueError where a group is a value as well.

    What is no group stays as it came: beneath the last one dots belong to the name of a column. Only what single
    families are told is of any type, so there a yaml file's `0.1` is a number at once."""
    pairs = apply_yaml_types(parse_pairs(values)) if find_named_settings(kind) else values
    if not (isinstance(pairs, Mapping) and (is_settings(kind) or find_named_settings(kind))):
        return pairs
    groups: dict[Any, Any] = {}
    for name, value in pairs.items():
        head, dot, rest = str(name).partition(".")
        group = unfold_groups({rest: value} if dot else value, find_field_kind(kind, head))
        groups = _merge_groups(groups, {head if dot else name: group})
    return groups


def _merge_groups(group: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Any]:
    merged = dict(group)
    for name, value in other.items():
        previous = merged.get(name)
        groups = isinstance(previous, Mapping), isinstance(value, Mapping)
        if previous is None or value is None:
            merged[name] = previous if value is None else value
        elif all(groups):
            merged[name] = _merge_groups(previous, value)
        elif any(groups):
            raise ValueError(f"{name} can't be both a value and a group of fields")
        else:
            raise ValueError(f"{name} is given twice, as {shorten(previous)} and as {shorten(value)}")
    return merged
