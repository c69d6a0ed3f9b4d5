"""What is wrong with the settings that somebody gave, in one sentence each."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from models.config.places import find_field_kind, is_settings
from models.config.values import Settings
from models.errors import InputError, suggest_names
from models.text.safe import shorten

_MOST = 3


Wanted = TypeVar("Wanted", bound=Settings)


def validate_settings(model: type[Wanted], values: Any) -> Wanted:
    """The settings with these values; InputError with what is wrong with them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise to_input_error(error, model) from None


def to_input_error(error: ValidationError, model: type[Settings]) -> InputError:
    """The first problems by the fields' own names: `split.outer: should be greater than or equal to 2, not 1.`"""
    errors = error.errors(include_url=False)
    problems = [
        add_field_name(".".join(map(str, problem["loc"])), describe_problem(problem, model)) for problem in errors
    ]
    return InputError(
        "\n".join(problems[:_MOST]) + (f" (and {len(errors) - _MOST} more)" if len(errors) > _MOST else "")
    )


def add_field_name(place: str, message: str) -> str:
    """The message after the name of what it is about; a sentence where it is about the whole."""
    return f"{place}: {message}" if place else message[:1].upper() + message[1:]


def describe_problem(problem: Any, model: type[Settings]) -> str:
    """What is wrong with one field, and what came."""
    if problem["type"] == "extra_forbidden":
        return f"no such field.{suggest_names(problem['loc'][-1], _list_fields(model, problem['loc']))}"
    if problem["type"] == "missing":
        return "is missing."
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "should be").rstrip(".")
    if problem["type"] == "string_pattern_mismatch":
        message = (
            "a name must not have / : @ ? % \" ' \\ or a control character in it, nor begin with . or -, nor begin or "
            "end with a blank"
        )
    return f"{message}." if problem["type"] == "value_error" else f"{message}, not {shorten(problem['input'])!r}."


def _list_fields(model: type[Settings], place: tuple[int | str, ...]) -> list[str]:
    kind: Any = model
    for part in place[:-1]:
        kind = find_field_kind(kind, str(part))
    return list(kind.model_fields) if is_settings(kind) else []
