"""Where a setting stands among the others: `families.lightgbm.space.learning_rate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, get_args, get_origin

from models.config.values import Settings


def is_settings(kind: Any) -> bool:
    """Whether a field of that kind is a group of settings."""
    return isinstance(kind, type) and issubclass(kind, Settings)


def by_name(kind: Any) -> type[Settings] | None:
    """The settings of each name, where a field of that kind has some for each of several names; else None."""
    each = get_args(kind)[1] if get_origin(kind) is dict else None
    return each if is_settings(each) else None


def beneath(kind: Any, name: str) -> Any:
    """The kind of what has that name in a group; None where there is no such thing."""
    if not is_settings(kind):
        return by_name(kind)
    field = kind.model_fields.get(name)
    return field.annotation if field else None


def unfolded(values: Mapping[Any, Any], model: type[Settings]) -> dict[Any, Any]:
    """The values with names such as `search.trials` as groups; ValueError where such a group is a value too.

    Beneath the last group of settings dots stay: they belong to the name of a column there."""
    whole: dict[Any, Any] = {}
    for name, said in values.items():
        parts = _parts(name, model) if isinstance(name, str) else [name]
        whole = _joined(whole, reduce(lambda inside, part: {part: inside}, reversed(parts), said))
    return whole


def _parts(name: str, kind: Any) -> list[str]:
    head, dot, rest = name.partition(".")
    if not dot:
        return [name]
    inner = beneath(kind, head)
    return [head, *(_parts(rest, inner) if is_settings(inner) or by_name(inner) else [rest])]


def _joined(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Any]:
    whole = dict(one)
    for name, said in other.items():
        kept = whole.get(name)
        if isinstance(kept, Mapping) and isinstance(said, Mapping):
            whole[name] = _joined(kept, said)
        elif kept is None or said is None:
            whole[name] = kept if said is None else said
        else:
            raise ValueError(f"{name} can't be both a value and a group of fields")
    return whole
