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
    each = get_args(kind)[1] if get_origin(kind) is dict else None
    return each if is_settings(each) else None


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
    whole = apply_yaml_types(parse_pairs(values)) if find_named_settings(kind) else values
    if not (isinstance(whole, Mapping) and (is_settings(kind) or find_named_settings(kind))):
        return whole
    found: dict[Any, Any] = {}
    for name, said in whole.items():
        head, dot, rest = str(name).partition(".")
        inner = unfold_groups({rest: said} if dot else said, find_field_kind(kind, head))
        found = _merge_groups(found, {head if dot else name: inner})
    return found


def _merge_groups(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Any]:
    whole = dict(one)
    for name, said in other.items():
        kept = whole.get(name)
        groups = isinstance(kept, Mapping), isinstance(said, Mapping)
        if kept is None or said is None:
            whole[name] = kept if said is None else said
        elif all(groups):
            whole[name] = _merge_groups(kept, said)
        elif any(groups):
            raise ValueError(f"{name} can't be both a value and a group of fields")
        else:
            raise ValueError(f"{name} is given twice, as {shorten(kept)} and as {shorten(said)}")
    return whole
