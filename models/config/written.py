"""The text of a yaml file as values: bounded, each key once, and plain words as they are written.

YAML 1.1 makes True of `yes`, 8 of `010` and 5400 of `1:30:00`. A label, a level or a column's name means the text; so
such a value stays that text, beside what yaml makes of it, and a field of numbers reads its number from the text."""

from __future__ import annotations

from typing import Any

import yaml

MOST = 2**17
"""Bytes that a file of settings may have. Reading them takes a second."""
DEEPEST = 30
"""How deep lists and mappings may stand in each other."""
LARGEST = 20_000
"""Values that a file may have, those that `*aliases` repeat among them."""
LONGEST = 100
"""Characters that a number or a date may have."""

_TYPED = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp")}


class YamlText(str):
    """A text that yaml takes for a number, a truth value or a date."""

    value: Any
    """What yaml makes of it."""

    def __new__(cls, text: str, value: Any) -> YamlText:
        """The text with that value beside it."""
        instance = super().__new__(cls, text)
        instance.value = value
        return instance

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]
        """What pickling keeps."""
        return str(self), self.value


def parse_yaml(data: bytes) -> Any:
    """The values in a yaml text; None where it holds none. ValueError with the line where it is no yaml, is too large,
    or says a thing twice."""
    if len(data) > MOST:
        raise ValueError(f"is larger than {MOST:,} bytes, which is more than settings need; is it another file?")
    try:
        return _Loader(data.decode("utf-8-sig")).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def apply_yaml_types(value: Any) -> Any:
    """The value with what yaml makes of the texts in it."""
    if isinstance(value, dict):
        return {key: apply_yaml_types(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(apply_yaml_types, value))
    return value.value if isinstance(value, YamlText) else value


class _Loader(yaml.SafeLoader):
    """Composes no more than is allowed, and constructs texts."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._size = 0
        self._sizes: dict[Any, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, counted: an alias is as large as what it repeats, since whoever walks over it repeats it."""
        event, start = self.peek_event(), self._size
        self._depth += 1
        if self._depth > DEEPEST:
            raise _make_yaml_error(event, f"lists and mappings stand more than {DEEPEST} deep in each other")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self._size += 1
            self._sizes[node] = self._size - start
        elif node not in self._sizes:
            raise _make_yaml_error(event, f"*{event.anchor} stands within what it repeats")
        else:
            self._size += self._sizes[node]
        if self._size > LARGEST:
            raise _make_yaml_error(
                event, f"there are more than {LARGEST:,} values, those that *aliases repeat among them"
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """The mapping as it is written, each key once: `<<` later puts what it merges among the keys."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _make_yaml_error(key, "a name is wanted before the colon, not a list or a mapping")
            if key.value in lines and key.value != "<<":
                raise _make_yaml_error(
                    key, f"{key.value} is given twice, first in line {lines[key.value]}; keep one of them"
                )
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The node's value; of what yaml has types for the text beside it."""
        if node.tag not in _TYPED or not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if len(node.value) > LONGEST:
            return node.value
        try:
            return YamlText(node.value, super().construct_object(node, deep))
        except (ValueError, LookupError, AttributeError):  # no such thing after all: a date in the month 13, `!!bool x`
            return node.value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """The mapping under its keys as they are written."""
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


def _make_yaml_error(place: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
