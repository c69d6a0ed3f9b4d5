"""`nestor retrain`: new data for a model that exists; the challenger meets the champion."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from operator import not_
from typing import TYPE_CHECKING, Any

from flows.options import flags
from flows.options.command_input import CommandInput, read_settings_file
from flows.options.option import Option, take_options
from flows.screen import ending
from flows.screen.printing import show_json, show_text

if TYPE_CHECKING:
    from models.config import Retrain
    from models.outcome import RetrainReport

EXAMPLES = (
    "nestor retrain loans",
    "nestor retrain loans --data 'loans-%Y-%m-%d.csv' --budget 10m",
    "nestor retrain sales --bind since=today-28d --gate not_worse",
    "nestor retrain loans --approval manual --config retrain.yaml",
)

_NEW, _MEET = "The table", "The gate"

# fmt: off
OPTIONS = (
    Option("name", "NAME", None, "A model's name in the registry.", default=...),
    Option("data", "--data", "DATA", "The new table. Default: where the last run found its table, read anew.",
           panel=_NEW),
    *flags.select_run_options("query", "bound"),
    Option("columns", "--columns", "stop|adapt",
           "Where columns are missing or of another type: stop, or train on what there is. Default: stop.", panel=_NEW),
    Option("budget", "--budget -b", "TIME", "Wall time of the training. Default: as the last run."),
    *(replace(option, field="new_seal") for option in flags.select_run_options("split.new_seal")),
    Option("force", "--force", None, "Train although nothing has changed since the last run.", bool),
    Option("warm", "--no-warm", None, "Without the last run's best configurations to begin with.", bool, not_),
    Option("overlap", "--overlap", "refuse|queue",
           "What to do while another retraining of this model is at work. Default: refuse."),
    Option("gate.rule", "--gate", "better|not_worse",
           "What the challenger must surely be, beside the champion. Default: better.", panel=_MEET),
    Option("gate.approval", "--approval", "auto|manual",
           "manual: the run pauses until a person has answered in Prefect's page. Default: auto.", panel=_MEET),
    Option("notify", "--notify", "BLOCK",
           "A Prefect notification block that is told how it ended, such as slack-webhook/team."),
    *(replace(option, panel=None) for option in flags.select_run_options("")),
    flags.UNSAFE,
)
# fmt: on


@take_options(OPTIONS)
def retrain(inputs: CommandInput, as_json: flags.AsJson = False, quiet: flags.Quiet = False) -> None:
    """Train a challenger on new data, and let it meet the champion."""
    values = _gather_values(inputs)
    from flows.server import prefect_server

    with ending.allow_interrupt("What is finished is kept; the same command goes on with it."):
        prefect_server.start_server()
        result = _run_retraining(_make_retrain(values), quiet)
    _show_result(result, as_json)


def _gather_values(inputs: CommandInput) -> dict[str, Any]:
    """The retraining's values: those of the config file, overruled by the options."""
    from models.config import Retrain

    values = read_settings_file(inputs.file, Retrain) if inputs.file else {}
    if isinstance(values.get("budget"), dict):  # `read_settings_file` writes a Run's budget in its long form
        values["budget"] = values["budget"].get("seconds")
    if "bound" in inputs.given:  # here the option's values take the place of all of the file's
        values.pop("bound", None)
    values["gate"] = values.get("gate") or {}
    return inputs.overrule(values)


def _make_retrain(values: dict[str, Any]) -> Retrain:
    from models.config import Retrain, problems

    return problems.validate_settings(Retrain, values)


def _show_result(result: RetrainReport, as_json: bool) -> None:
    if as_json:
        return show_json(result.as_json())
    if result.report is not None:
        from flows.screen.tables import make_final_table

        show_text(make_final_table(result.report))
    show_text(f"\n{result.sentence}")


def _run_retraining(retrain: Retrain, quiet: bool) -> RetrainReport:
    from flows.screen.live import show_live

    with (
        show_live(time.time(), retrain.budget, quiet),
        redirect_stdout(sys.stderr),  # standard output is the result's, whatever a library has to say
    ):
        from flows.retrain import retrain as flow

        ending.log_to_file()  # Prefect has put its own handlers in place
        return flow(retrain)
