"""The options of `nestor train`, `check` and `score`, and the frozen Run that they make.

Importing this must stay cheap: `nestor --help` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError, shortened

if TYPE_CHECKING:
    from models.config import Run, Settings


def _option(panel: str, *names: str, help: str, metavar: str = "TEXT", default: str | None = None) -> Any:
    text = f"{help} Default: {default}." if default else help
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False)


_TABLE, _SEARCH, _SPLIT, _RUN, _OUT = "The table", "The search", "The folds", "The run", "What is shown"

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A csv file, compressed or not, or a parquet file; with %Y-%m-%d in its path the newest that fits. Or a "
        "database address, with --query; env:NAME or secret:NAME, where one is kept. Or sklearn:NAME.",
        show_default=False,
    ),
]
Query = Annotated[
    str | None,
    _option(
        _TABLE,
        "--query",
        metavar="SQL",
        help="Where DATA is a database address: a table's name, or a select, in which :name stands for a value of "
        "--bind.",
    ),
]
Bound = Annotated[
    list[str] | None,
    _option(
        _TABLE,
        "--bind",
        metavar="NAME=VALUE",
        help="A value for the query's :NAME: text, today, today-7d (h, d, w), now-12h. May be repeated.",
    ),
]
Target = Annotated[
    str | None,
    _option(_TABLE, "--target", "-t", metavar="COL", help="The column to predict.", default="target, for sklearn:NAME"),
]
Test = Annotated[
    str | None, _option(_TABLE, "--test", metavar="FILE", help="A separate table that is the sealed test set.")
]
TestColumn = Annotated[
    str | None,
    _option(_TABLE, "--test-column", metavar="COL", help="A column that is true (or 'test') in the rows to seal."),
]
Task = Annotated[
    str | None,
    _option(_TABLE, "--task", metavar="T", help="binary, multiclass or regression.", default="from the target"),
]
Positive = Annotated[
    str | None, _option(_TABLE, "--positive", metavar="LABEL", help="The positive class of a binary target.")
]
Weight = Annotated[
    str | None, _option(_TABLE, "--weight", metavar="COL", help="A column of row weights, for fits and for scores.")
]
Drop = Annotated[list[str] | None, _option(_TABLE, "--drop", metavar="A,B", help="Columns not to use.")]
Types = Annotated[
    list[str] | None,
    _option(
        _TABLE,
        "--type",
        metavar="COL=KIND",
        help="How to read a column, whatever it looks like: number, category, ordered, boolean, date "
        "(day-first, month-first), duration, text, key, id, drop. May be repeated.",
    ),
]
Order = Annotated[
    list[str] | None,
    _option(
        _TABLE,
        "--order",
        metavar="COL=A,B,C",
        help="The levels of an ordered category, lowest first. May be repeated.",
    ),
]
Grid = Annotated[
    str | None,
    _option(
        _TABLE,
        "--grid",
        metavar="HxW",
        help="For cnn: the columns of numbers are a picture, 8x8 (row by row), or a signal, 64.",
    ),
]
Monotone = Annotated[
    list[str] | None,
    _option(
        _TABLE,
        "--monotone",
        metavar="COL=rising",
        help="The prediction may only rise with this column, or only fall (COL=falling). May be repeated.",
    ),
]
Metric = Annotated[
    str | None,
    _option(
        _SEARCH,
        "--metric",
        "-m",
        metavar="M",
        help="A scikit-learn scorer's name, pinball:0.9 for that quantile, cost with --cost, or module:attribute.",
        default="roc_auc, log_loss or rmse by task",
    ),
]
Costs = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--cost",
        metavar="ACTUAL:SAID=COST",
        help="What it costs to predict SAID where ACTUAL is true; a mistake that is not named costs 1. The metric is "
        "then cost. May be repeated.",
    ),
]
ClassWeight = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--class-weight",
        metavar="LABEL=W",
        help="balanced, or how many times as much the rows of a label count in fits (not in scores). May be repeated.",
    ),
]
Objectives = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--objective",
        metavar="NAME",
        help="What counts beside the metric: another metric, latency, size, memory, seconds, gap:COL (equalized odds "
        "difference) or parity:COL. May be repeated.",
    ),
]
Limits = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--limit",
        metavar="NAME=VALUE",
        help="The most that a model may have: latency (ms for one row), size (MB), memory (MB), seconds, gap:COL; the "
        "least, of a metric where more is better. May be repeated.",
    ),
]
Pick = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--pick",
        metavar="HOW",
        help="Which point of the Pareto front is delivered: knee, limits (the best metric within them), or weights "
        "such as roc_auc=3,latency=1.",
        default="knee",
    ),
]
Families = Annotated[
    str | None,
    _option(
        _SEARCH, "--families", "-f", metavar="A,B", help="The families to consider.", default="all that suit the table"
    ),
]
Budget = Annotated[
    str | None,
    _option(
        _SEARCH,
        "--budget",
        "-b",
        metavar="TIME",
        help="Wall time of the whole command: 90s, 10m, 1h30m.",
        default="10m",
    ),
]
Trials = Annotated[
    str | None,
    _option(
        _SEARCH,
        "--trials",
        metavar="N",
        help="Instead of a budget: configurations per family and fold. The result then repeats to the last digit.",
    ),
]
Strategy = Annotated[
    str | None, _option(_SEARCH, "--search", metavar="S", help="How hyperparameters are searched.", default="auto")
]
Space = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--space",
        metavar="FAMILY.H=RANGE",
        help="A hyperparameter's range in place of the family's own: lightgbm.learning_rate=0.01,0.1,log, choices, or "
        "one value. May be repeated.",
    ),
]
Steps = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--steps",
        metavar="FAMILY.H=N",
        help="For --search grid: how many values of a hyperparameter are tried; FAMILY=N: of each. May be repeated.",
        default="3",
    ),
]
Configuration = Annotated[
    list[str] | None,
    _option(
        _SEARCH,
        "--configuration",
        metavar="FAMILY.H=V,H=V",
        help="For --search manual: a configuration to try; what it does not name is the default's. May be repeated.",
    ),
]
WarmFrom = Annotated[
    str | None,
    _option(
        _SEARCH,
        "--warm-from",
        metavar="RUN",
        help="A run's id, or a model's name: its newest run. Its best configurations are tried after each default.",
    ),
]
Seed = Annotated[
    str | None, _option(_SEARCH, "--seed", metavar="N", help="The seed of all that is random.", default="0")
]
Outer = Annotated[
    str | None, _option(_SPLIT, "--outer", metavar="K", help="How many outer folds judge.", default="from the table")
]
Inner = Annotated[
    str | None,
    _option(_SPLIT, "--inner", metavar="J", help="How many inner folds choose the settings.", default="from the table"),
]
Group = Annotated[
    str | None,
    _option(_SPLIT, "--group", metavar="COL", help="Rows with equal values never sit on both sides of a split."),
]
Time = Annotated[
    str | None,
    _option(_SPLIT, "--time", metavar="COL", help="A column of times: earlier rows train, later rows judge."),
]
Horizon = Annotated[
    str | None,
    _option(
        _SPLIT,
        "--horizon",
        metavar="H",
        help="With --time: how far ahead to forecast, 24 (steps), 24h or 7d. The past becomes columns.",
    ),
]
Series = Annotated[
    str | None,
    _option(_SPLIT, "--series", metavar="COL", help="With --time: the column that says which series a row is of."),
]
Known = Annotated[
    list[str] | None,
    _option(
        _SPLIT,
        "--known",
        metavar="A,B",
        help="With --horizon: columns whose later values are known beforehand; of others only the past counts.",
    ),
]
Season = Annotated[
    str | None,
    _option(
        _SPLIT,
        "--season",
        metavar="S",
        help="With --horizon: after how long a series repeats itself, 24 (steps), 24h or 7d.",
        default="from the calendar",
    ),
]
Id = Annotated[list[str] | None, _option(_SPLIT, "--id", metavar="COL", help="Columns that name a row.")]
Sealed = Annotated[
    str | None,
    _option(
        _SPLIT, "--sealed", metavar="SHARE", help="Share of rows in the sealed test set; 0: none.", default="by size"
    ),
]
Salt = Annotated[
    str | None,
    _option(
        _SPLIT,
        "--salt",
        metavar="N",
        help="Which of 100 draws the sealed test set is.",
        default="as in the name's first run",
    ),
]
NewSeal = Annotated[
    bool,
    typer.Option(
        "--new-seal",
        help="Seal other rows than this name has so far: where columns that they are known by are gone, or the sealed "
        "rows have decided too often. It is written down, and the gate counts anew.",
        rich_help_panel=_SPLIT,
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    _option(_RUN, "--name", "-n", metavar="N", help="The model's name in the registry.", default="the file's stem"),
]
Workers = Annotated[
    str | None,
    _option(_RUN, "--workers", "-j", metavar="N", help="Processes that fit models.", default="one for each core"),
]
Memory = Annotated[
    str | None, _option(_RUN, "--memory", metavar="GB", help="Memory for one fit.", default="an even share")
]
Deliver = Annotated[
    str | None,
    _option(
        _RUN,
        "--deliver",
        metavar="HOW",
        help="bag: the outer folds' models, averaged. refit: one model, searched and fitted on all work rows.",
        default="bag; refit with --time, --final-rows all, and for latency or size",
    ),
]
FinalRows = Annotated[
    str | None,
    _option(
        _RUN,
        "--final-rows",
        metavar="ROWS",
        help="all: with a refit, the model is fitted once more with the sealed rows; the one that was tested is kept "
        "beside it. work: it is not.",
        default="work; all with --time",
    ),
]
Calibrate = Annotated[
    str | None,
    _option(
        _RUN,
        "--calibrate",
        metavar="WHEN",
        help="auto: probabilities are calibrated where the metric reads them and it helps; never; always.",
        default="auto",
    ),
]
Threshold = Annotated[
    str | None,
    _option(
        _RUN,
        "--threshold",
        metavar="WHEN",
        help="auto: where the metric judges labels, inner rows choose the probability from which on the positive class "
        "is predicted. never: the likelier class is.",
        default="auto",
    ),
]
Mirror = Annotated[
    str | None,
    _option(
        _RUN,
        "--mirror",
        metavar="WHERE",
        help="wandb: the same runs in Weights & Biases too; with WANDB_MODE=offline its files only.",
        default="MLflow alone",
    ),
]
Config = Annotated[
    Path | None,
    _option(_RUN, "--config", "-c", metavar="FILE", help="A yaml file of settings; options go before it."),
]
Resume = Annotated[
    str | None,
    _option(
        _RUN,
        "--resume",
        metavar="[RUN]",
        help="Go on with an interrupted run: the newest with these options (--budget may differ), or the one named.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; train nothing.", rich_help_panel=_RUN)]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output.", rich_help_panel=_OUT, show_default=False)
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe", help="Load a pickle (tag nestor.unsafe) too: that runs whatever code its maker put in.",
        show_default=False,
    ),
]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUT, show_default=False)]

Given = dict[tuple[str, ...], Any]
"""The Run's field -> what its option was given."""

_PAIRS = ("types",), ("bound",), ("order",), ("search", "limits")
_BUDGET, _TRIALS = ("budget", "seconds"), ("search", "trials")

# The Run's field -> the option that sets it.
FLAGS: dict[tuple[str, ...], str] = {
    ("data",): "DATA",
    ("query",): "--query",
    ("bound",): "--bind",
    ("target",): "--target",
    ("test",): "--test",
    ("name",): "--name",
    ("task",): "--task",
    ("metric",): "--metric",
    ("costs",): "--cost",
    ("class_weight",): "--class-weight",
    ("positive",): "--positive",
    ("weight",): "--weight",
    ("drop",): "--drop",
    ("types",): "--type",
    ("grid",): "--grid",
    ("monotone",): "--monotone",
    ("order",): "--order",
    ("seed",): "--seed",
    ("split", "outer"): "--outer",
    ("split", "inner"): "--inner",
    ("split", "group"): "--group",
    ("split", "time"): "--time",
    ("split", "horizon"): "--horizon",
    ("split", "series"): "--series",
    ("split", "known"): "--known",
    ("split", "season"): "--season",
    ("split", "id"): "--id",
    ("split", "sealed"): "--sealed",
    ("split", "salt"): "--salt",
    ("split", "new_seal"): "--new-seal",
    ("split", "test_column"): "--test-column",
    ("search", "strategy"): "--search",
    ("search", "trials"): "--trials",
    ("search", "families"): "--families",
    ("search", "warm_from"): "--warm-from",
    ("search", "objectives"): "--objective",
    ("search", "limits"): "--limit",
    ("search", "pick"): "--pick",
    ("families",): "--space",
    ("budget", "seconds"): "--budget",
    ("budget", "workers"): "--workers",
    ("budget", "memory"): "--memory",
    ("final", "deliver"): "--deliver",
    ("final", "rows"): "--final-rows",
    ("final", "calibrate"): "--calibrate",
    ("final", "threshold"): "--threshold",
    ("tracking", "mirror"): "--mirror",
}


def gathered(config: Path | None, given: Given) -> dict[str, Any]:
    """The Run's values: those of the config file, overruled by the options given (None: not given)."""
    values = _of_run(config) if config else {}
    given = {path: value for path, value in given.items() if value is not None}
    if _BUDGET in given and _TRIALS in given:
        raise InputError("Give --budget (wall time) or --trials (configurations per family and fold), not both.")
    # an option for one of the two also overrules the file's other one
    for one, other in (_BUDGET, _TRIALS), (_TRIALS, _BUDGET):
        if one in given and isinstance(values.get(other[0]), dict):
            values[other[0]].pop(other[1], None)
    for path, value in given.items():
        _put(values, path, value)
    if values.get("data") in (None, ""):
        raise InputError("Which table? Give a csv or parquet file, a database address, or sklearn:NAME.")
    return values


def made_run(values: dict[str, Any], given: Given) -> Run:
    """The Run with these values; what is wrong with them as one InputError in the words of the command line."""
    from pydantic import ValidationError

    from models.config import Run

    try:
        return Run.model_validate(values)
    except ValidationError as error:
        flags = {path for path, value in given.items() if value is not None}
        problems = [_problem(e, flags) for e in error.errors(include_url=False)]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InputError("\n".join(problems[:3]) + more) from None


def _of_run(path: Path) -> dict[str, Any]:
    from models.config import Run

    return from_file(path, Run)


def from_file(path: Path, model: type[Settings]) -> dict[str, Any]:
    """The values in a yaml file for these settings, names such as `search.trials` as groups, and `budget: 10m` in its
    long form."""
    from models.config.places import unfolded

    values = written(path, "--config")
    values = {} if values is None else values  # comments alone: `nestor searches --suggest` with nothing to narrow
    if not isinstance(values, dict):
        raise InputError(f"--config: {path} must hold fields such as 'target: paid', not {shortened(values)!r}.")
    if isinstance(values.get("budget"), (str, int, float)):
        values["budget"] = {"seconds": values["budget"]}
    try:
        return unfolded(values, model)
    except ValueError as error:
        raise InputError(f"--config: {path}: {error}.") from None


def written(path: Path, what: str) -> Any:
    """The values in a yaml file, each as it is written; InputError, which begins with `what`, where there are none."""
    from models.config.written import MOST, settings
    from tasks.data.sources.files import located

    try:
        with located(path).open("rb") as file:
            return settings(file.read(MOST + 1))
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    except OSError as error:
        raise InputError(f"{what}: {path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{what}: {path} is no file of settings: {shortened(error, 200)}.") from None


def bindings(pairs: list[str] | None) -> dict[str, str] | None:
    """Name -> value, from `NAME=VALUE` texts."""
    if not pairs:
        return None
    parts = [pair.partition("=") for pair in pairs]
    for pair, (name, sign, _) in zip(pairs, parts, strict=True):
        if not name.strip() or not sign:
            raise InputError(f"--bind wants NAME=VALUE, such as --bind since=today-28d, not {shortened(pair)!r}.")
    return {name.strip().removeprefix(":"): value.strip() for name, _, value in parts}


def of_families(
    spaces: list[str] | None, steps: list[str] | None, configurations: list[str] | None
) -> dict[str, Any] | None:
    """Family -> its settings, from texts such as `FAMILY.HYPERPARAMETER=RANGE`."""
    found: dict[str, Any] = {}
    for pair in spaces or ():
        family, name, said = _of_family("--space", "learning_rate=0.01,0.1,log", pair)
        found.setdefault(family, {}).setdefault("space", {})[name] = said
    for pair in steps or ():
        family, name, said = _of_family("--steps", "learning_rate=5", pair, whole=True)
        found.setdefault(family, {}).setdefault("steps", {})[name] = int(said)
    for pair in configurations or ():
        family, name, said = _of_family("--configuration", "learning_rate=0.05,num_leaves=63", pair)
        found.setdefault(family, {}).setdefault("configurations", []).append(f"{name}={said}")
    return found or None


def _of_family(option: str, example: str, pair: str, whole: bool = False) -> tuple[str, str, str]:
    """(family, hyperparameter, what is said of it). With `whole` that is a number over 0, and may be of all."""
    name, sign, said = pair.partition("=")
    family, _, hyperparameter = name.strip().partition(".")
    fine = sign and family and said.strip() and (hyperparameter or whole)
    if not fine or (whole and not (said.strip().isdecimal() and int(said) > 0)):
        every = ", or lightgbm=3 for all" if whole else ""
        raise InputError(f"{option} wants such as {option} lightgbm.{example}{every}, not {shortened(pair)!r}.")
    return family, hyperparameter, said.strip()


def limits(pairs: list[str] | None) -> dict[str, str] | None:
    """Objective -> bound, from `NAME=VALUE` texts."""
    if not pairs:
        return None
    parts = [pair.rpartition("=") for pair in pairs]
    for pair, (name, _, bound) in zip(pairs, parts, strict=True):
        if not name.strip() or not bound.strip():
            raise InputError(f"--limit wants NAME=VALUE, such as --limit latency=5, not {shortened(pair)!r}.")
    return {name.strip(): bound.strip() for name, _, bound in parts}


def kinds(pairs: list[str] | None) -> dict[str, str] | None:
    """Column -> kind, from `COL=KIND` texts."""
    if not pairs:
        return None
    parts = [pair.rpartition("=") for pair in pairs]
    for pair, (column, _, kind) in zip(pairs, parts, strict=True):
        if not column or not kind:
            raise InputError(f"--type wants COL=KIND, such as --type zip=category, not {shortened(pair)!r}.")
    return {column: kind for column, _, kind in parts}


def orders(pairs: list[str] | None) -> dict[str, list[str]] | None:
    """Column -> its levels, lowest first, from `COL=A,B,C` texts."""
    if not pairs:
        return None
    parts = [pair.partition("=") for pair in pairs]
    for pair, (column, _, levels) in zip(pairs, parts, strict=True):
        if not column.strip() or "," not in levels:
            raise InputError(f"--order wants COL=A,B,C, such as --order size=S,M,L, not {shortened(pair)!r}.")
    return {column.strip(): [level.strip() for level in levels.split(",")] for column, _, levels in parts}


def names(texts: list[str] | None) -> tuple[str, ...] | None:
    """The names in texts of names with commas between them."""
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip()) if texts else None


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        values = inner if isinstance(inner, dict) else values
    if path == ("families",):
        values[path[-1]] = _over(values.get(path[-1]), value)
    else:
        values[path[-1]] = _merged(values.get(path[-1]), value) if path in _PAIRS else value


def _over(kept: Any, given: Any) -> Any:
    """What is given over what is kept, mapping by mapping."""
    if not (isinstance(kept, dict) and isinstance(given, dict)):
        return given
    return {**kept, **{name: _over(kept.get(name), value) for name, value in given.items()}}


def _merged(from_file: Any, given: dict[str, Any]) -> Any:
    """The pairs of the config file, a mapping or a list, with those of the options over them."""
    from models.config.values import paired

    kept = paired(from_file or {})
    return {**kept, **given} if isinstance(kept, dict) else kept


def _problem(error: Any, from_flags: set[tuple[str, ...]]) -> str:
    """`--outer: should be greater than or equal to 2, not 1.`"""
    from models.config import Run
    from models.config.problems import placed, sentence

    place = tuple(str(part) for part in error["loc"])
    flag = next((FLAGS[place[:n]] for n in (2, 1) if place[:n] in FLAGS), None)
    known = flag if flag and place[: 2 if place[:2] in FLAGS else 1] in from_flags else None
    return placed(known or ("config: " + ".".join(place) if place else ""), sentence(error, Run))
