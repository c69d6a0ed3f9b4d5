"""Writes the generated parts of `docs/` from the code: `python -m benchmarks.pages`; with `--check` it only compares.

A page holds a part between `<!-- begin NAME -->` and `<!-- end NAME -->`; each NAME is a function of this module.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config import Retrain, Run, Score, Settings, Watch
from models.config.places import find_named_settings, is_settings

if TYPE_CHECKING:
    from models.fitting.family import Family
    from models.tuning.strategy import Strategy

DOCS = Path(__file__).resolve().parents[1] / "docs"
OF_FAMILIES = {
    "families.NAME.space": "--space",
    "families.NAME.steps": "--steps",
    "families.NAME.configurations": "--configuration",
}
"""The options for the settings of single families, which name the family themselves."""
PART = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.S)


def main(arguments: Sequence[str]) -> int:
    """Writes every page whose parts are stale, or with `--check` names them and returns 1."""
    # The sections of proofs.md are written by the proofs themselves.
    pages = {path: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")) if path.name != "proofs.md"}
    stale = {path: new for path, old in pages.items() if (new := renew_page(old)) != old}
    only_look = "--check" in arguments
    for path, new in stale.items():
        print(f"{'stale' if only_look else 'written'}: docs/{path.name}")
        if not only_look:
            path.write_text(new, "utf-8")
    return 1 if stale and only_look else 0


def renew_page(text: str) -> str:
    """The page with each of its generated parts made anew."""
    return PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]().strip()}\n\n{m[3]}", text)


def to_markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(_escape_cell(c) for c in line) + " |" for line in lines)


def _escape_cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


# --- config.md -------------------------------------------------------------------------------------------------------


def config() -> str:
    """Every field of the settings that a flow takes, and of what is in them."""
    return "\n\n".join(_make_section(*part) for flow in (Run, Retrain, Score, Watch) for part in _list_settings(flow))


def _list_settings(flow: type[Settings]) -> Iterator[tuple[str, type[Settings], Mapping[str, str]]]:
    """(place, model, option of each field) of a flow's settings and of those in them."""
    from flows.options.option import map_flags

    command = "train" if flow is Run else flow.__name__.lower()
    rows = importlib.import_module(f"flows.commands.{command}").OPTIONS
    options = map_flags(rows) | (OF_FAMILIES if flow is Run else {})
    yield "", flow, options
    for name, field in flow.model_fields.items():
        kind: Any = field.annotation
        if is_settings(kind):
            yield name, kind, options
        elif each := find_named_settings(kind):
            yield f"{name}.NAME", each, options


def _make_section(place: str, model: type[Settings], options: Mapping[str, str]) -> str:
    schema = model.model_json_schema()["properties"]
    fields = {n: f for n, f in model.model_fields.items() if not is_settings(f.annotation)}
    rows = [
        (
            f"`{place}.{n}`" if place else f"`{n}`",
            _describe_type(schema[n]),
            "required" if f.is_required() else _format_default(f.default),
            _format_flag(options.get(f"{place}.{n}" if place else n)),
            f.description or "",
        )
        for n, f in fields.items()
    ]
    title = f"## {place}: {model.__name__}" if place else f"## {model.__name__}"
    heads = ("field", "value", "default", "option", "meaning")
    return f"{title}\n\n{inspect.getdoc(model)}\n\n{to_markdown_table(heads, rows)}"


def _format_default(default: Any) -> str:
    return "" if default is None or default in ((), {}) else f"`{default}`"


def _format_flag(flag: str | None) -> str:
    return f"`{flag}`" if flag else ""


WORDS = {"integer": "whole number", "array": "names", "string": "text", "object": "name: value", "boolean": "yes or no"}


def _describe_type(schema: Mapping[str, Any]) -> str:
    """`number, 0 or more`, `` `bag` or `refit` ``, in words."""
    if "anyOf" in schema:
        return " or ".join(_describe_type(s) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"] if v is not None)
    bounds = {"minimum": "from {}", "exclusiveMinimum": "over {}", "maximum": "to {}", "exclusiveMaximum": "under {}"}
    said = [form.format(schema[key]) for key, form in bounds.items() if key in schema]
    if schema.get("items", {}).get("type") == "number":
        return f"numbers {_describe_type(schema['items']).partition(' ')[2]}".strip()
    if "=" in schema.get("items", {}).get("pattern", ""):
        return "name: value, or a list of `name=value`"
    if schema.get("items", {}).get("type") == "object":
        return f"list of {WORDS['object']}"
    return " ".join([WORDS.get(schema.get("type", ""), schema.get("type", "any")), *said])


# --- families.md, searches.md ----------------------------------------------------------------------------------------


def families() -> str:
    """A table of all families, and a section for each: what it declares, its search space."""
    from models.analysis.cards import describe_family
    from models.families import load_families as known

    head = ("suits", "tasks", "cost", "comes with")
    rows = [(f"[`{f.name}`](#{f.name})", *(describe_family(f)[h] for h in head)) for f in known().values()]
    return (
        to_markdown_table(("family", *head), rows) + "\n\n" + "\n\n".join(map(_make_family_section, known().values()))
    )


def _make_family_section(family: Family) -> str:
    from models.analysis.cards import describe_family, list_hyperparameters

    told = [(what, said) for what, said in describe_family(family).items() if said]
    rows = [
        (f"`{name}`", ranged, f"`{default}`" if default else "")
        for name, ranged, default in list_hyperparameters(family)
    ]
    space = to_markdown_table(("hyperparameter", "range", "default"), rows) if rows else "There is nothing to search."
    return f"## {family.name}\n\n{to_markdown_table(('declares', ''), told)}\n\n{space}"


def searches() -> str:
    """A row for each strategy."""
    from models.search import load_strategies

    head = ("strategy", "what it does", "suits", "cost, and from when on it pays", "objectives", "comes with", "source")
    return to_markdown_table(head, map(_make_search_row, load_strategies().values()))


def _make_search_row(known: Strategy) -> tuple[str, ...]:
    from models.analysis.cards import describe_strategy

    brought = f"extra `{known.extra}`" if known.extra else "the base"
    objectives = "several" if known.several else "one"
    return f"`{known.name}`", describe_strategy(known), known.suits, known.cost, objectives, brought, known.source


# --- checks.md -------------------------------------------------------------------------------------------------------


def checks() -> str:
    """The checks of models/checks, by kind."""
    from models.checks import load_checks as known

    return "\n\n".join(
        f"### {title}\n\n"
        + to_markdown_table(("check", "asks", "yields"), [_make_check_row(n, m, kind) for n, m in known(kind).items()])
        for kind, title in (("form", "Form: the whole table"), ("signal", "Signal: work rows only"))
    )


def _make_check_row(name: str, module: Any, kind: str) -> tuple[str, str, str]:
    question = (inspect.getdoc(module) or "").split("\n")[0]
    return f"`{name}`", question, (inspect.getdoc(getattr(module, kind)) or "").split("\n\n")[0]


def notes() -> str:
    """What reading a column may have to say."""
    from tasks.data.notes import SENTENCES

    words = {"pass": "pass", "warn": "warning"}
    rows = [(f"`{name}`", words[verdict], said.replace("{}", "…")) for name, (verdict, said) in SENTENCES.items()]
    return to_markdown_table(("check", "verdict", "what is said"), rows)


# --- command-line.md -------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_make_command_section(name, one) for name, one in _list_commands().items())


def _list_commands() -> Mapping[str, Any]:
    """The commands of `nestor` by name."""
    import typer

    from flows.cli import app

    found: Any = typer.main.get_command(app)
    return found.commands


def _make_command_section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    rows = [(f"`{p.metavar}`", p.help or "") for p in arguments]
    rows += [(f"{_format_option_names(p)}", p.help or "") for p in command.params if p not in arguments]
    places = [p.metavar if p.required else f"[{p.metavar.strip('[]')}]" for p in arguments]
    usage = " ".join(["nestor", name, *places, "[OPTIONS]"])
    examples = (command.epilog or "").split("\n\n")[1:]
    shown = "\n\n```\n" + "\n".join(examples) + "\n```" if examples else ""
    return f"## nestor {name}\n\n{command.help}\n\n`{usage}`\n\n{to_markdown_table(('', 'meaning'), rows)}{shown}"


def _format_option_names(option: Any) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    return ", ".join(f"`{name}{value}`" if name.startswith("--") else f"`{name}`" for name in option.opts)


PARTS: dict[str, Callable[[], str]] = {f.__name__: f for f in (config, families, searches, checks, notes, commands)}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
