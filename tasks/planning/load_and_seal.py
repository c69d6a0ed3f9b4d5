"""From the address of a table to work rows and sealed rows: read, check the form, seal, check the signal."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from models.config import Run
from models.data.forecast import widen_table
from models.data.table import Table
from models.errors import InputError
from models.evaluation.estimate import make_time_blocks
from models.splitting.division import Division, divide_table
from models.splitting.seal import Seal, digest_values, to_key_form
from models.text.address import mask_address
from models.text.safe import shorten
from tasks.context import RunContext
from tasks.data import read_table
from tasks.execution import pool
from tasks.planning.checks import check_form, check_work_rows, make_metric_and_goal, require_known_names
from tasks.run.folder import Workdir
from tasks.run.resume import flatten_settings, to_run_settings
from tasks.run.stage import CHECK, READ, SEAL
from tasks.values import LoadedTable, SealedTable, advance

_LONG = 4000
"""Characters of columns' names from which on a digest stands for them: a tag of MLflow holds a few such names."""


def load_table(context: RunContext) -> LoadedTable:
    """The table, read and checked; the workers' server loads what they need meanwhile."""
    run, data = context.run, context.run.data
    require_known_names(run)
    with context.enter_stage(READ, shorten(mask_address(data)) if isinstance(data, str) else ""):
        table = check_form(read_table(run, context.began, lambda: context.seals.earlier), run)
        # skrub takes a second to import: in the fork server once, not in every worker.
        pool.start_fork_server("skrub")
        context.add_findings(table.findings)
        metric, goal = make_metric_and_goal(table, run)
        loaded = LoadedTable(context=context, table=table, metric=metric, goal=goal)
        _refuse_other_table(loaded)
        _open_run(loaded)
    return loaded


def _open_run(loaded: LoadedTable) -> None:
    """Opens the pipeline run in MLflow."""
    context, table = loaded.context, loaded.table
    context.record(
        "run",
        "pipeline",
        name=f"{context.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
        params=flatten_settings(to_run_settings(loaded.run)),
        start=context.ledger.origin,
        dataset={
            "name": table.name,
            "digest": table.fingerprint,
            "source": table.reading.source,
            "rows": table.rows,
            "columns": table.features.shape[1],
            "kinds": table.kinds,
        },
        tags={"nestor.task": table.task, "nestor.metric": loaded.metric.name},
    )


def _refuse_other_table(loaded: LoadedTable) -> None:
    """A resumed run must meet the table that it began with."""
    folder, table = loaded.context.folder, loaded.table
    record = folder.read_fixed(folder.read_json, "table.json")
    if record is None:
        folder.write_json("table.json", {"fingerprint": table.fingerprint})
    elif record["fingerprint"] != table.fingerprint:
        raise InputError(
            f"{table.reading.source} has changed since the run in {folder.path} began, so it can't go on. Start a new "
            "run without --resume."
        )


def seal_rows(loaded: LoadedTable) -> SealedTable:
    """The table divided into sealed and work rows; both are written down for the workers."""
    context, table = loaded.context, loaded.table
    with context.enter_stage(SEAL):
        settings = context.seals.earlier if table.test is None else None
        division = divide_table(table, _drop_new_seal(context), loaded.metric, settings)
        if division.settings is not None:
            context.seals.write(division.settings)
        full = widen_table(table)
        context.add_findings(division.findings)
        if division.note:
            context.note(division.note)
        sealed = _take_rows(loaded, division, full)
        _write_parts(sealed)
        if len(division.young_places):
            young = full.take(division.young_places)
            _write_rows(context.folder, "young", young)
            keys = _choose_bootstrap_keys(young, division.row_keys[division.young_places])
            _write_units(context.folder, "young", young, keys)
    return sealed


def _take_rows(loaded: LoadedTable, division: Division, full: Table) -> SealedTable:
    """The work rows and the sealed rows of the full table, each with what a bootstrap of them draws."""
    work_rows = full.take(division.work_places)
    sealed_rows = full.take(division.sealed_places) if division.sealed.any() else None
    sealed_keys = division.row_keys[division.sealed_places]
    if sealed_rows is not None:
        # Rows were sealed by their keys, so those of one key came in together: they are drawn together.
        sealed_keys = _choose_bootstrap_keys(sealed_rows, sealed_keys)
    seal_id = "given" if loaded.table.test is not None else None
    return advance(
        SealedTable, loaded, division=division, work_rows=work_rows, sealed_rows=sealed_rows,
        keys=_choose_bootstrap_keys(work_rows, division.plan.keys), sealed_keys=sealed_keys,
        seal_id=seal_id if division.seal is None else _name_seal(division.seal),
    )  # fmt: skip


def _drop_new_seal(context: RunContext) -> Run:
    """The settings; of a run that is resumed without a new seal, which it has drawn before."""
    run = context.run
    if not (run.split.new_seal and context.folder.has("seal.json")):
        return run
    return run.model_copy(update={"split": run.split.model_copy(update={"new_seal": False})})


def _name_seal(seal: Seal) -> str:
    """What openings of the seal are counted under."""
    columns = ",".join(seal.columns)
    label = columns if len(columns) < _LONG else f"{columns[:100]}…{digest_values(columns):016x}"
    return f"{seal.kind}-{seal.salt}-{label}" + (f"-{seal.number}" if seal.number > 1 else "")


def _choose_bootstrap_keys(table: Table, plan_keys: np.ndarray) -> np.ndarray:
    """What a bootstrap draws: groups, blocks of time, else rows with their copies."""
    return make_time_blocks(table.time) if table.time is not None and table.group is None else plan_keys


def _write_parts(sealed: SealedTable) -> None:
    """Writes work rows and, in files of their own, sealed rows."""
    folder, division = sealed.context.folder, sealed.division
    for prefix, places in (("", division.work_places), ("sealed_", division.sealed_places)):
        folder.write_array(f"{prefix}row_keys", division.row_keys[places])
    _write_rows(folder, "", sealed.work_rows)
    if sealed.sealed_rows is not None:
        _write_rows(folder, "sealed", sealed.sealed_rows)
        _write_units(folder, "sealed", sealed.sealed_rows, sealed.sealed_keys)
        folder.write_json("sealed.json", _make_seal_record(sealed, sealed.sealed_rows))


def _write_rows(folder: Workdir, name: str, table: Table) -> None:
    prefix = f"{name}_" if name else ""
    folder.write_frame(name or "work", table.features)
    folder.write_array(f"{prefix}target", table.target)
    if table.weight is not None:
        folder.write_array(f"{prefix}weight", table.weight)


def _write_units(folder: Workdir, name: str, table: Table, units: np.ndarray) -> None:
    folder.write_array(f"{name}_units", units)
    if table.group is not None:
        folder.write_array(f"{name}_group", table.group)


def _make_seal_record(sealed: SealedTable, rows: Table) -> dict[str, Any]:
    """What a gate must know of the sealed rows: what a bootstrap draws, what their keys are made of, and what makes
    them the same sealed rows as another run's: salt, key columns and target; in time plans the window too; and how
    manieth seal of the name it is, where a new one was asked for."""
    seal, columns = sealed.division.seal, list(sealed.division.made_of)
    identity = {"columns": columns, "target": sealed.run.target or "target"}
    if seal is None:
        identity["given"] = digest_values(*np.unique(sealed.division.row_keys[sealed.division.sealed_places]).tolist())
    else:
        identity |= {"salt": seal.salt, "kind": seal.kind, "cut": seal.cut}
        identity |= {"number": seal.number} if seal.number > 1 else {}  # a time plan's has no other salt
    unit = "group" if rows.group is not None else "block" if rows.time is not None else "row"
    return {"unit": unit, "made_of": columns, "forms": list_key_forms(rows), "identity": identity}


def list_key_forms(table: Table) -> list[str]:
    """The features, each with what its values are to a key."""
    return sorted(f"{to_key_form(kind)}:{column}" for column, kind in table.kinds.items())


def check_signal_of_table(sealed: SealedTable) -> None:
    """Checks how the features go with the target, among work rows only; never stops."""
    with sealed.context.enter_stage(CHECK):
        work = sealed.work_rows
        sealed.context.add_findings(check_work_rows(work.features, work.target, work.task, work.classes))
