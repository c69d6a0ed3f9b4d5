"""How settings look as a form: Prefect draws a run's form from their JSON schema, and checks it before a run starts.

A field that may be left empty is a plain box and not a choice between a text and nothing; what is one of a few is a
drop-down; pairs such as `zip=category` are lines of a list. Fields stand in the order in which they are written down.
Python, the command line and config files may say more than the form: numbers for durations, mappings for pairs."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any


def make_title(name: str, _: object) -> str:
    """`warm_from` as `Warm from`."""
    return name.replace("_", " ").capitalize()


def adapt_schema(schema: dict[str, Any], model: type[Any]) -> None:
    """Makes the JSON schema of settings one that Prefect's page draws well."""
    fields = schema.get("properties", {})
    for place, (name, field) in enumerate(fields.items()):
        fields[name] = {**_simplify_field(field), "position": place}


def _simplify_field(field: dict[str, Any]) -> dict[str, Any]:
    """The field as one kind of value; nothing, where it may be left out, is said by leaving it out."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        details = {k: v for k, v in kinds[0].items() if k != "title"}
        field = {**{k: v for k, v in field.items() if k not in ("anyOf", "default")}, **details}
        if "enum" in field:  # Prefect's server takes null for what is not required, but looks it up among these
            field["enum"] = [*field["enum"], None]
    if field.get("type") == "string" and isinstance(field.get("default"), (int, float)):
        field = {**field, "default": format_duration(field["default"])}
    constraints = {"gt", "lt", "ge", "le"}  # of a bound on what a text stands for, such as a duration
    if field.get("default") in ([], {}, None) or "$ref" in field:
        constraints = {*constraints, "default"}
    return {k: v for k, v in field.items() if k not in constraints}


def shorten_schema(schema: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of settings with these fields alone, such as `data` and `budget.seconds`. All others may be given
    too, as JSON: no box is drawn for them, and what they hold is checked once the run begins."""
    shortened, groups = dict(schema), schema.get("$defs", {})
    fields = list(shortened["properties"])
    shortened["properties"] = {
        name: _pick_fields(shortened["properties"][name], groups, inside) for name, inside in _group_names(names)
    }
    rest = {k: v for k, v in shortened.items() if k not in ("$defs", "additionalProperties")}
    return {**rest, "propertyNames": {"enum": fields}}


def _group_names(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each first name with what is wanted within it."""
    parts = [name.partition(".") for name in names]
    return [
        (head, [rest for first, _, rest in parts if first == head and rest])
        for head in dict.fromkeys(p[0] for p in parts)
    ]


def _pick_fields(field: dict[str, Any], groups: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    if not names:
        return field
    group = groups[field["$ref"].rpartition("/")[2]]
    properties = {name: group["properties"][name] for name in names}
    merged = {k: v for k, v in {**group, **field}.items() if k not in ("$ref", "additionalProperties")}
    return {**merged, "properties": properties}


def make_exclusion_rule(given: tuple[str, str], other: tuple[str, str], reason: str) -> dict[str, Any]:
    """The rule that `other` (group and field) is empty where `given` is not. The server says a text's own words and
    then the pattern that it does not match, so the pattern is the sentence."""
    presence = {"properties": {given[1]: {"not": {"type": "null"}}}, "required": [given[1]]}
    pattern = {"properties": {other[1]: {"pattern": f"^(?#{reason})$"}}}
    return {
        "if": {"properties": {given[0]: presence}, "required": [given[0]]},
        "then": {"properties": {other[0]: pattern}},
    }


def format_duration(seconds: float) -> str:
    """A duration as one would type it: `1d`, `90s`."""
    unit, name = next((u, n) for u, n in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")) if not seconds % u or u == 1)
    return f"{seconds / unit:g}{name}"


def list_modules(package: str) -> list[str]:
    """The names of what a package's modules hold: theirs, but for an underscore that keeps one from hiding a standard
    module. None of them is imported: a form is drawn whenever a flow is."""
    spec = find_spec(package)
    return sorted(module.name.rstrip("_") for module in pkgutil.iter_modules(spec and spec.submodule_search_locations))
