"""The Run to train: the last run's settings with what is to change, the champion's kinds, and the warm start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.config import Run, problems
from models.data.table import Reading, Table
from models.errors import InputError
from tasks.data.column_types.dates import find_day_order
from tasks.data.sources.source import load_raw_table
from tasks.retrain.data import RetrainInputs
from tasks.run.fingerprint import drop_one_time_settings


def make_next_run(inputs: RetrainInputs) -> Run:
    """The Run over the new data as its settings say, before kinds are pinned; InputError where they are none."""
    config = inputs.past.config if inputs.past else {}
    values = _drop_source(_merge_settings(config, inputs.retrain.changes))
    if str(values.get("test", "")).startswith("DataFrame of "):
        raise InputError("The last run's test table was a DataFrame: give it anew, in `changes: {test: ...}`.")
    if not config and not values.get("target") and not str(inputs.data).startswith("sklearn:"):
        raise InputError(
            f"{inputs.name} has never been trained here, so its target is not known. Train it first (nestor train DATA "
            f"--target COLUMN --name {inputs.name}), or give `changes: {{target: COLUMN}}`."
        )
    budget, trials = inputs.retrain.budget, _read_setting(inputs.retrain.changes, "search", "trials")
    if budget is not None:
        values = _merge_settings(values, {"budget": {"seconds": budget}, "search": {"trials": None}})
    elif trials is not None:
        values = _merge_settings(values, {"budget": {"seconds": None}})
    elif _read_setting(inputs.retrain.changes, "budget", "seconds") is not None:
        values = _merge_settings(values, {"search": {"trials": None}})
    values = _drop_missing_columns(values, inputs) if inputs.retrain.columns == "adapt" else values
    values = _merge_settings(values, {"split": {"new_seal": True}}) if inputs.retrain.new_seal else values
    return validate_run({**values, "data": inputs.data, "name": inputs.name})


def pin_kinds(inputs: RetrainInputs, run: Run, table: Table) -> Run:
    """The Run to train: kinds as the champion knows them, where the new table alone would have them otherwise, and with
    the last run's best configurations; without these where a new seal is drawn, of rows that they were chosen on."""
    kinds = inputs.champion.reading.kinds if inputs.champion and inputs.retrain.columns == "stop" else {}
    mismatches = {c: kind for c, kind in table.reading.kinds.items() if c in kinds and kinds[c] != kind}
    orders = find_day_orders(inputs.champion.reading, table.reading) if inputs.champion and kinds else {}
    types = {**{c: kinds[c] for c in mismatches}, **orders, **run.types}
    parsers = inputs.champion.reading.parsers if inputs.champion else {}
    order = {**{c: tuple(parsers[c]["order"]) for c in mismatches if kinds[c] == "ordered"}, **run.order}
    warm = inputs.past.run_id if inputs.past and inputs.retrain.warm and not run.split.new_seal else None
    search = run.search.model_copy(update={"warm_from": warm})
    return run.model_copy(update={"types": types, "order": order, "search": search})


def find_day_orders(known: Reading, new: Reading) -> dict[str, str]:
    """Date column -> whether days or months come first for the champion, where the new table by itself has it
    otherwise: a few rows may hold no day above 12."""
    pairs = {c: (find_day_order(known.parsers.get(c, {})), find_day_order(parser)) for c, parser in new.parsers.items()}
    return {
        c: known_order
        for c, (known_order, own_order) in pairs.items()
        if known_order and own_order and known_order != own_order
    }


def validate_run(values: Mapping[str, Any]) -> Run:
    """The Run with these values; InputError that says what is wrong with them."""
    try:
        return Run.model_validate(values)
    except ValidationError as error:
        raise problems.to_input_error(error, Run) from None


def _drop_source(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without where the table lies, which is found anew, and without what that run asked once."""
    return drop_one_time_settings({k: v for k, v in values.items() if k not in ("data", "query", "bound")})


def _merge_settings(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values, those inside of them too, overruled by the changes."""
    result = dict(values)
    for key, change in changes.items():
        value = result.get(key)
        if key == "budget" and not isinstance(change, Mapping) and change is not None:
            change = {"seconds": change}
        result[key] = (
            _merge_settings(value, change) if isinstance(value, Mapping) and isinstance(change, Mapping) else change
        )
    return result


def _read_setting(values: Mapping[str, Any], *path: str) -> Any:
    """The value there; None where there is none."""
    value: Any = values
    for key in path:
        if key == "seconds" and not isinstance(value, Mapping):
            return value  # `budget: 10m`
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _drop_missing_columns(values: Mapping[str, Any], inputs: RetrainInputs) -> dict[str, Any]:
    """The settings without kinds and dropped columns that the new table lacks."""
    columns = set(load_raw_table(inputs.data).frame.columns)
    types = {c: kind for c, kind in (values.get("types") or {}).items() if c in columns}
    order = {c: levels for c, levels in (values.get("order") or {}).items() if c in columns}
    return {**values, "types": types, "order": order, "drop": [c for c in values.get("drop") or () if c in columns]}
