"""How the texts of options become values: `zip=category` a pair, `a,b` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.errors import InputError
from models.text.safe import shorten


def parse_names(texts: list[str]) -> tuple[str, ...]:
    """The names in texts of names with commas between them."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def parse_levels(texts: list[str]) -> tuple[float, ...]:
    """The levels in texts of levels with commas between them; InputError for one that is none."""
    return tuple(map(_parse_level, parse_names(texts)))


def _parse_level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        raise InputError(f"--interval: a level between 0 and 1, such as 0.9, is wanted, not {text!r}.")
    return level


def parse_bindings(texts: list[str]) -> dict[str, str]:
    """Name -> value, from `NAME=VALUE` texts."""
    usage = "--bind wants NAME=VALUE, such as --bind since=today-28d"
    pairs = _parse_pairs(texts, usage, lambda name, value: name.strip())
    return {name.strip().removeprefix(":"): value.strip() for name, value in pairs}


def parse_limits(texts: list[str]) -> dict[str, str]:
    """Objective -> bound, from `NAME=VALUE` texts."""
    usage = "--limit wants NAME=VALUE, such as --limit latency=5"
    pairs = _parse_pairs(texts, usage, lambda name, bound: name.strip() and bound.strip(), str.rpartition)
    return {name.strip(): bound.strip() for name, bound in pairs}


def parse_kinds(texts: list[str]) -> dict[str, str]:
    """Column -> kind, from `COL=KIND` texts."""
    usage = "--type wants COL=KIND, such as --type zip=category"
    return dict(_parse_pairs(texts, usage, lambda column, kind: column and kind, str.rpartition))


def parse_orders(texts: list[str]) -> dict[str, list[str]]:
    """Column -> its levels, lowest first, from `COL=A,B,C` texts."""
    usage = "--order wants COL=A,B,C, such as --order size=S,M,L"
    pairs = _parse_pairs(texts, usage, lambda column, levels: column.strip() and "," in levels)
    return {column.strip(): [level.strip() for level in levels.split(",")] for column, levels in pairs}


def _parse_pairs(
    texts: list[str],
    usage: str,
    check: Callable[[str, str], object],
    splitter: Callable[[str, str], tuple[str, str, str]] = str.partition,
) -> list[tuple[str, str]]:
    """What stands before and after each text's equals sign; InputError, with what is wanted, where that isn't fine."""
    pairs = []
    for text in texts:
        name, sign, value = splitter(text, "=")
        if not (sign and check(name, value)):
            raise InputError(f"{usage}, not {shorten(text)!r}.")
        pairs.append((name, value))
    return pairs


def parse_spaces(texts: list[str]) -> dict[str, Any]:
    """Family -> its `space`, from `FAMILY.HYPERPARAMETER=RANGE` texts."""
    families: dict[str, Any] = {}
    for family, name, value in _parse_family_settings("--space", "learning_rate=0.01,0.1,log", texts):
        families.setdefault(family, {"space": {}})["space"][name] = value
    return families


def parse_steps(texts: list[str]) -> dict[str, Any]:
    """Family -> its `steps`, from `FAMILY.HYPERPARAMETER=N` texts; `FAMILY=N` is of every hyperparameter."""
    families: dict[str, Any] = {}
    for family, name, value in _parse_family_settings("--steps", "learning_rate=5", texts, whole=True):
        families.setdefault(family, {"steps": {}})["steps"][name] = int(value)
    return families


def parse_configurations(texts: list[str]) -> dict[str, Any]:
    """Family -> its `configurations` in their order, from `FAMILY.HYPERPARAMETER=VALUE,...` texts."""
    families: dict[str, Any] = {}
    for family, name, value in _parse_family_settings("--configuration", "learning_rate=0.05,num_leaves=63", texts):
        families.setdefault(family, {"configurations": []})["configurations"].append(f"{name}={value}")
    return families


def _parse_family_settings(
    option: str, example: str, texts: list[str], whole: bool = False
) -> list[tuple[str, str, str]]:
    """(family, hyperparameter, what is said of it) of each. With `whole` that is a number over 0, and may be of all."""
    settings = []
    for text in texts:
        name, sign, value = text.partition("=")
        family, _, hyperparameter = name.strip().partition(".")
        is_valid = sign and family and value.strip() and (hyperparameter or whole)
        if not is_valid or (whole and not (value.strip().isdecimal() and int(value) > 0)):
            hint = ", or lightgbm=3 for all" if whole else ""
            raise InputError(f"{option} wants such as {option} lightgbm.{example}{hint}, not {shorten(text)!r}.")
        settings.append((family, hyperparameter, value.strip()))
    return settings
