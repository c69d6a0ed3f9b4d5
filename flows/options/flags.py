"""What can be said on the command line: one row for each field of the settings that has a flag.

The fields themselves, their defaults and bounds are in `models/config/`. A row adds how the flag is called and what the
help says of it, in fewer words than a form has room for. Importing this must stay cheap: `nestor --help` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flows.options.option import Option
from flows.options.texts import (
    parse_bindings,
    parse_configurations,
    parse_kinds,
    parse_limits,
    parse_names,
    parse_orders,
    parse_spaces,
    parse_steps,
)

_TABLE, _SEARCH, _SPLIT, _RUN, _OUT = "The table", "The search", "The folds", "The run", "What is shown"


def _set_panel(panel: str, *options: Option) -> tuple[Option, ...]:
    """The options, shown in that panel of the help."""
    return tuple(replace(option, panel=panel) for option in options)


# fmt: off
RUN = (
    Option("data", "DATA", None,
           "A csv file, compressed or not, or a parquet file; with %Y-%m-%d in its path the newest that fits. Or a "
           "database address, with --query; env:NAME or secret:NAME, where one is kept. Or sklearn:NAME."),
    *_set_panel(
        _TABLE,
        Option("query", "--query", "SQL",
               "Where DATA is a database address: a table's name, or a select, in which :name stands for a value of "
               "--bind."),
        Option("bound", "--bind", "NAME=VALUE",
               "A value for the query's :NAME: text, today, today-7d (h, d, w), now-12h. May be repeated.",
               list, parse_bindings),
        Option("target", "--target -t", "COL", "The column to predict. Default: target, for sklearn:NAME."),
        Option("task", "--task", "T", "binary, multiclass or regression. Default: from the target."),
        Option("positive", "--positive", "LABEL", "The positive class of a binary target."),
        Option("test", "--test", "FILE", "A separate table that is the sealed test set."),
        Option("split.test_column", "--test-column", "COL", "A column that is true (or 'test') in the rows to seal."),
        Option("weight", "--weight", "COL", "A column of row weights, for fits and for scores."),
        Option("drop", "--drop", "A,B", "Columns not to use.", list, parse_names),
        Option("types", "--type", "COL=KIND",
               "How to read a column, whatever it looks like: number, category, ordered, boolean, date (day-first, "
               "month-first), duration, text, key, id, drop. May be repeated.", list, parse_kinds),
        Option("grid", "--grid", "HxW",
               "For cnn: the columns of numbers are a picture, 8x8 (row by row), or a signal, 64."),
        Option("order", "--order", "COL=A,B,C",
               "The levels of an ordered category, lowest first. May be repeated.", list, parse_orders),
        Option("monotone", "--monotone", "COL=rising",
               "The prediction may only rise with this column, or only fall (COL=falling). May be repeated.", list),
    ),
    *_set_panel(
        _SEARCH,
        Option("budget.seconds", "--budget -b", "TIME",
               "Wall time of the whole command: 90s, 10m, 1h30m. Default: 10m."),
        Option("search.trials", "--trials", "N",
               "Instead of a budget: configurations per family and fold. The result then repeats to the last digit."),
        Option("metric", "--metric -m", "M",
               "A scikit-learn scorer's name, pinball:0.9 for that quantile, cost with --cost, or module:attribute. "
               "Default: roc_auc, log_loss or rmse by task."),
        Option("costs", "--cost", "ACTUAL:SAID=COST",
               "What it costs to predict SAID where ACTUAL is true; a mistake that is not named costs 1. The metric "
               "is then cost. May be repeated.", list),
        Option("class_weight", "--class-weight", "LABEL=W",
               "balanced, or how many times as much the rows of a label count in fits (not in scores). May be "
               "repeated.", list),
        Option("search.objectives", "--objective", "NAME",
               "What counts beside the metric: another metric, latency, size, memory, seconds, gap:COL (equalized "
               "odds difference) or parity:COL. May be repeated.", list, parse_names),
        Option("search.limits", "--limit", "NAME=VALUE",
               "The most that a model may have: latency (ms for one row), size (MB), memory (MB), seconds, gap:COL; "
               "the least, of a metric where more is better. May be repeated.", list, parse_limits),
        Option("search.pick", "--pick", "HOW",
               "Which point of the Pareto front is delivered: knee, limits (the best metric within them), or weights "
               "such as roc_auc=3,latency=1. Default: knee.", list),
        Option("search.families", "--families -f", "A,B",
               "The families to consider. Default: all that suit the table."),
        Option("search.strategy", "--search", "S", "How hyperparameters are searched. Default: auto."),
        Option("families", "--space", "FAMILY.H=RANGE",
               "A hyperparameter's range in place of the family's own: lightgbm.learning_rate=0.01,0.1,log, choices, "
               "or one value. May be repeated.", list, parse_spaces),
        Option("families", "--steps", "FAMILY.H=N",
               "For --search grid: how many values of a hyperparameter are tried; FAMILY=N: of each. May be "
               "repeated. Default: 3.", list, parse_steps),
        Option("families", "--configuration", "FAMILY.H=V,H=V",
               "For --search manual: a configuration to try; what it does not name is the default's. May be "
               "repeated.", list, parse_configurations),
        Option("search.warm_from", "--warm-from", "RUN",
               "A run's id, or a model's name: its newest run. Its best configurations are tried after each default."),
        Option("seed", "--seed", "N", "The seed of all that is random. Default: 0."),
    ),
    *_set_panel(
        _SPLIT,
        Option("split.outer", "--outer", "K", "How many outer folds judge. Default: from the table."),
        Option("split.inner", "--inner", "J", "How many inner folds choose the settings. Default: from the table."),
        Option("split.group", "--group", "COL", "Rows with equal values never sit on both sides of a split."),
        Option("split.time", "--time", "COL", "A column of times: earlier rows train, later rows judge."),
        Option("split.horizon", "--horizon", "H",
               "With --time: how far ahead to forecast, 24 (steps), 24h or 7d. The past becomes columns."),
        Option("split.series", "--series", "COL", "With --time: the column that says which series a row is of."),
        Option("split.known", "--known", "A,B",
               "With --horizon: columns whose later values are known beforehand; of others only the past "
               "counts.", list, parse_names),
        Option("split.season", "--season", "S",
               "With --horizon: after how long a series repeats itself, 24 (steps), 24h or 7d. Default: from the "
               "calendar."),
        Option("split.id", "--id", "COL", "Columns that name a row.", list, parse_names),
        Option("split.sealed", "--sealed", "SHARE", "Share of rows in the sealed test set; 0: none. Default: by size."),
        Option("split.salt", "--salt", "N",
               "Which of 100 draws the sealed test set is. Default: as in the name's first run."),
        Option("split.new_seal", "--new-seal", None,
               "Seal other rows than this name has so far: where columns that they are known by are gone, or the "
               "sealed rows have decided too often. It is written down, and the gate counts anew.", bool),
    ),
    *_set_panel(
        _RUN,
        Option("name", "--name -n", "N", "The model's name in the registry. Default: the file's stem."),
        Option("budget.workers", "--workers -j", "N", "Processes that fit models. Default: one for each core."),
        Option("budget.memory", "--memory", "GB", "Memory for one fit. Default: an even share."),
        Option("final.deliver", "--deliver", "HOW",
               "bag: the outer folds' models, averaged. refit: one model, searched and fitted on all work rows. "
               "Default: bag; refit with --time, --final-rows all, and for latency or size."),
        Option("final.rows", "--final-rows", "ROWS",
               "all: with a refit, the model is fitted once more with the sealed rows; the one that was tested is "
               "kept beside it. work: it is not. Default: work; all with --time."),
        Option("final.calibrate", "--calibrate", "WHEN",
               "auto: probabilities are calibrated where the metric reads them and it helps; never; always. Default: "
               "auto."),
        Option("final.threshold", "--threshold", "WHEN",
               "auto: where the metric judges labels, inner rows choose the probability from which on the positive "
               "class is predicted. never: the likelier class is. Default: auto."),
        Option("tracking.mirror", "--mirror", "WHERE",
               "wandb: the same runs in Weights & Biases too; with WANDB_MODE=offline its files only. Default: "
               "MLflow alone."),
        Option("", "--config -c", "FILE", "A yaml file of settings; options go before it.", Path),
    ),
)
"""The options of a run, in the order of the help."""
# fmt: on
UNSAFE = Option(
    "unsafe",
    "--unsafe",
    None,
    "Load a pickle (tag nestor.unsafe) too: that runs whatever code its maker put in.",
    bool,
)


def select_run_options(*fields: str) -> tuple[Option, ...]:
    """A run's options for these fields, in this order; of the config file for an empty name."""
    return tuple(next(option for option in RUN if option.field == field) for field in fields)


# What is no setting: the commands take these beside the settings.
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="[RUN]",
        help="Go on with an interrupted run: the newest with these options (--budget may differ), or the one named.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; train nothing.", rich_help_panel=_RUN)]
Unsafe = Annotated[bool, UNSAFE.shown]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output.", rich_help_panel=_OUT, show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUT, show_default=False)]
