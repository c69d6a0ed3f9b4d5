"""How a row for each option becomes a command's signature, and what was typed a value.

Importing this must stay cheap: `nestor --help` does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from flows.options.command_input import CommandInput, merge_values


@dataclass(frozen=True)
class Option:
    """A flag of the command line, or one of its places, that fills a field of the settings."""

    field: str
    """Where the field stands: `split.group`; empty: in the file that is named, all of them."""
    names: str
    """`--group`, or `--target -t`; what begins with no dash, such as `DATA`, is a place."""
    metavar: str | None
    """How the help calls the value; None for a switch and for a place, which is called by its name."""
    help: str
    kind: Any = str
    """What typer makes of it: a text, a number, a path; `bool` for a switch, `list` for what may be repeated."""
    read: Callable[[Any], Any] | None = None
    """The field's value from what typer made; None: as it is."""
    default: Any = None
    """What typer gives where it is left out; `...` where it may not be."""
    least: int | None = None
    """The least number. Such an option shows its default."""
    panel: str | None = None
    """Under which heading the help has it."""

    @property
    def flag(self) -> str:
        """What messages and documents call it: `--group`, `DATA`."""
        return self.names.split()[0].partition("[")[0]

    @property
    def shown(self) -> Any:
        """How typer is told of it."""
        if not self.names.startswith("-"):
            return typer.Argument(metavar=self.names, help=self.help, show_default=False)
        return typer.Option(
            *self.names.split(), metavar=self.metavar, help=self.help, min=self.least, rich_help_panel=self.panel,
            show_default=self.least is not None,
        )  # fmt: skip

    @property
    def parameter(self) -> inspect.Parameter:
        """The parameter that typer reads; it is called as the flag is, since no two flags of a command are alike."""
        name = self.flag.strip("-").replace("-", "_") if self.flag.startswith("-") else self.field
        kind = list[str] if self.kind is list else self.kind
        annotation = Annotated[kind | None if self.default is None else kind, self.shown]
        return _make_parameter(name, annotation, inspect.Parameter.empty if self.default is ... else self.default)


def _make_parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def take_options(options: Sequence[Option]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a function of (what was asked for, flags that are no settings) a command with these options before the
    function's own."""
    parameters = [option.parameter for option in options]

    def command(function: Callable[..., None]) -> Callable[..., None]:
        _, *flags = inspect.signature(function, eval_str=True).parameters.values()

        @wraps(function)
        def called(**arguments: Any) -> None:
            values = [arguments.pop(parameter.name) for parameter in parameters]
            function(make_command_input(options, values), **arguments)

        all_parameters = [
            *parameters,
            *(_make_parameter(parameter.name, parameter.annotation, parameter.default) for parameter in flags),
        ]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in all_parameters}
        vars(called)["__signature__"] = inspect.Signature(all_parameters)  # typer asks for it and for nothing else
        return called

    return command


def make_command_input(options: Sequence[Option], values: Sequence[Any]) -> CommandInput:
    """What was asked for, by the values that typer has for each option."""
    settings: dict[str, Any] = {}
    for option, value in zip(options, values, strict=True):
        if value is None or value in ([], ()):
            continue
        settings[option.field] = merge_values(settings.get(option.field), option.read(value) if option.read else value)
    file = settings.pop("", None)
    flags = map_flags(options)
    return CommandInput(settings, {field: flags[field] for field in settings}, file)


def map_flags(options: Sequence[Option]) -> dict[str, str]:
    """Field -> its flag; of several for one field the first."""
    return {option.field: option.flag for option in reversed(options)}
