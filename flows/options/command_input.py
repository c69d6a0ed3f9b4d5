"""What was asked for on a command line and in the file that it names, and the settings that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from models.text.safe import shorten

if TYPE_CHECKING:
    from models.config import Run, Settings

_BUDGET, _TRIALS = "budget.seconds", "search.trials"


@dataclass(frozen=True)
class CommandInput:
    """The options that were given. What is wrong with their texts has been told; what they stand for is not checked."""

    given: Mapping[str, Any]
    """Field, such as `split.group`, -> value."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Field -> the flag that it was given by."""
    file: Path | None = None
    """The config file."""

    def overrule(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a file, overruled by the options."""
        for key, value in self.given.items():
            _put_value(values, key.split("."), value)
        return values


def gather_run_values(inputs: CommandInput) -> dict[str, Any]:
    """A Run's values: those of the config file, overruled by the options."""
    values = _read_run_file(inputs.file) if inputs.file else {}
    if _BUDGET in inputs.given and _TRIALS in inputs.given:
        raise InputError("Give --budget (wall time) or --trials (configurations per family and fold), not both.")
    # an option for one of the two also overrules the file's other one
    for option, rival in (_BUDGET, _TRIALS), (_TRIALS, _BUDGET):
        group, _, name = rival.partition(".")
        if option in inputs.given and isinstance(values.get(group), dict):
            values[group].pop(name, None)
    inputs.overrule(values)
    if values.get("data") in (None, ""):
        raise InputError("Which table? Give a csv or parquet file, a database address, or sklearn:NAME.")
    return values


def _read_run_file(path: Path) -> dict[str, Any]:
    from models.config import Run

    return read_settings_file(path, Run)


def make_run(values: dict[str, Any], inputs: CommandInput) -> Run:
    """The Run with these values; what is wrong with them as one InputError in the words of the command line."""
    from pydantic import ValidationError

    from models.config import Run

    try:
        return Run.model_validate(values)
    except ValidationError as error:
        problems = [_word_problem(e, inputs.flags) for e in error.errors(include_url=False)]
        suffix = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InputError("\n".join(problems[:3]) + suffix) from None


def _word_problem(error: Any, flags: Mapping[str, str]) -> str:
    """`--outer: should be greater than or equal to 2, not 1.`"""
    from models.config import Run
    from models.config.problems import add_field_name, describe_problem

    path = [str(part) for part in error["loc"]]
    flag = flags.get(".".join(path[:2])) or flags.get(path[0] if path else "")
    return add_field_name(flag or ("config: " + ".".join(path) if path else ""), describe_problem(error, Run))


def read_settings_file(path: Path, model: type[Settings]) -> dict[str, Any]:
    """The values in a yaml file for these settings, names such as `search.trials` as groups, and `budget: 10m` in its
    long form."""
    from models.config.places import unfold_groups

    values = read_yaml_file(path, "--config")
    values = {} if values is None else values  # comments alone: `nestor searches --suggest` with nothing to narrow
    if not isinstance(values, dict):
        raise InputError(f"--config: {path} must hold fields such as 'target: paid', not {shorten(values)!r}.")
    if isinstance(values.get("budget"), (str, int, float)):
        values["budget"] = {"seconds": values["budget"]}
    try:
        return unfold_groups(values, model)
    except ValueError as error:
        raise InputError(f"--config: {path}: {error}.") from None


def read_yaml_file(path: Path, label: str) -> Any:
    """The values in a yaml file, each as it is written; InputError, which begins with `label`, where there are none."""
    from models.config.written import MOST, parse_yaml
    from tasks.data.sources.files import locate_file

    try:
        with locate_file(path).open("rb") as file:
            return parse_yaml(file.read(MOST + 1))
    except InputError as error:
        raise InputError(f"{label}: {error}") from None
    except OSError as error:
        raise InputError(f"{label}: {path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{label}: {path} is no file of settings: {shorten(error, 200)}.") from None


def merge_values(base: Any, changes: Any) -> Any:
    """What is given over what is kept, mapping by mapping."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {**base, **{name: merge_values(base.get(name), value) for name, value in changes.items()}}


def _put_value(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Puts the value in its place; pairs go over the file's, which may be a mapping or a list."""
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        values = inner if isinstance(inner, dict) else values
    base = values.get(path[-1])
    if isinstance(value, dict) and base:
        from models.config.values import parse_pairs

        base = parse_pairs(base)
        value = merge_values(base, value) if isinstance(base, dict) else base
    values[path[-1]] = value
