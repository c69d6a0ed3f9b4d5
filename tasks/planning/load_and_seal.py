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
from tasks.data import read_table
from tasks.execution import pool
from tasks.planning.checks import check_form, check_signal, judged_by, known
from tasks.run import events
from tasks.run.resume import described, flat
from tasks.session import Session

_LONG = 4000
"""Characters of columns' names from which on a digest stands for them: a tag of MLflow holds a few such names."""


def take_in(session: Session) -> None:
    """Reads the table, checks its form, and has the workers' server load what they need."""
    known(session.run)
    data = session.run.data
    events.emit(events.Stage("read", shorten(mask_address(data)) if isinstance(data, str) else ""))
    with session.ledger.stage("reading"):
        table = check_form(read_table(session.run, session.began, lambda: session.kept_seal), session.run)
        # skrub takes a second to import: in the fork server once, not in every worker.
        pool.preload("skrub")
        session.table = table
        session.found(table.findings)
        session.metric, session.goal = judged_by(table, session.run)
        _same_table(session)
        _open(session)


def _open(session: Session) -> None:
    """Opens the pipeline run in MLflow."""
    table = session.table
    session.record(
        "run",
        "pipeline",
        name=f"{session.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
        params=flat(described(session.run)),
        start=session.ledger.origin,
        dataset={
            "name": table.name,
            "digest": table.fingerprint,
            "source": table.reading.source,
            "rows": table.rows,
            "columns": table.features.shape[1],
            "kinds": table.kinds,
        },
        tags={"nestor.task": table.task, "nestor.metric": session.metric.name},
    )


def _same_table(session: Session) -> None:
    """A resumed run must meet the table that it began with."""
    kept = session.fixed(session.workdir.read_json, "table.json")
    if kept is None:
        session.workdir.write_json("table.json", {"fingerprint": session.table.fingerprint})
    elif kept["fingerprint"] != session.table.fingerprint:
        raise InputError(
            f"{session.table.reading.source} has changed since the run in {session.workdir.path} began, so it can't go "
            "on. Start a new run without --resume."
        )


def seal(session: Session) -> None:
    """Divides the rows into sealed and work rows, writes both down for the workers, and makes the plan."""
    events.emit(events.Stage("seal"))
    with session.ledger.stage("sealing"):
        table = session.table
        division = divide_table(
            table, _once(session), session.metric, session.kept_seal if table.test is None else None
        )
        _keep(session, division)
        session.plan, session.work_places = division.plan, division.work_places
        session.sealed_places, session.repeats = division.sealed_places, division.repeats
        session.points = division.points
        full = widen_table(table)
        session.work = full.take(session.work_places)
        session.found(division.findings)
        if division.note:
            session.note(division.note)
        session.keys = _bootstrap_keys(session.work, session.plan.keys)
        for prefix, places in (("", session.work_places), ("sealed_", session.sealed_places)):
            session.workdir.write_array(f"{prefix}row_keys", division.row_keys[places])
        if len(division.young_places):
            young = full.take(division.young_places)
            _write_rows(session, "young", young)
            _write_units(session, "young", young, _bootstrap_keys(young, division.row_keys[division.young_places]))
        _write(session, full.take(session.sealed_places) if division.sealed.any() else None)


def _once(session: Session) -> Run:
    """The settings; of a run that is resumed without a new seal, which it has drawn before."""
    run = session.run
    if not (run.split.new_seal and session.workdir.has("seal.json")):
        return run
    return run.model_copy(update={"split": run.split.model_copy(update={"new_seal": False})})


def _keep(session: Session, division: Division) -> None:
    """What the seal is called and what rows are known by, and for later runs of this name how it was drawn."""
    session.seal, session.made_of, session.distinct = division.seal, division.made_of, division.distinct
    found = division.seal
    if found is not None:
        session.seal_id = _called(found)
    elif session.table.test is not None:
        session.seal_id = "given"
    if division.settings is not None:
        session.keep_seal(division.settings)


def _called(seal: Seal) -> str:
    """What openings of the seal are counted under."""
    columns = ",".join(seal.columns)
    known = columns if len(columns) < _LONG else f"{columns[:100]}…{digest_values(columns):016x}"
    return f"{seal.kind}-{seal.salt}-{known}" + (f"-{seal.number}" if seal.number > 1 else "")


def _bootstrap_keys(table: Table, plan_keys: np.ndarray) -> np.ndarray:
    """What a bootstrap draws: groups, blocks of time, else rows with their copies."""
    return make_time_blocks(table.time) if table.time is not None and table.group is None else plan_keys


def _write(session: Session, sealed: Table | None) -> None:
    """Writes work rows and, in files of their own, sealed rows."""
    session.sealed = sealed
    _write_rows(session, "", session.work)
    if sealed is not None:
        _write_rows(session, "sealed", sealed)
        # Rows were sealed by their keys, so those of one key came in together: they are drawn together.
        session.sealed_keys = _bootstrap_keys(sealed, np.asarray(session.workdir.read_array("sealed_row_keys")))
        _write_units(session, "sealed", sealed, session.sealed_keys)
        session.workdir.write_json("sealed.json", _sealed_as(session, sealed))


def _write_rows(session: Session, name: str, table: Table) -> None:
    prefix = f"{name}_" if name else ""
    session.workdir.write_frame(name or "work", table.features)
    session.workdir.write_array(f"{prefix}target", table.target)
    if table.weight is not None:
        session.workdir.write_array(f"{prefix}weight", table.weight)


def _write_units(session: Session, name: str, table: Table, units: np.ndarray) -> None:
    session.workdir.write_array(f"{name}_units", units)
    if table.group is not None:
        session.workdir.write_array(f"{name}_group", table.group)


def _sealed_as(session: Session, sealed: Table) -> dict[str, Any]:
    """What a gate must know of the sealed rows: what a bootstrap draws, what their keys are made of, and what makes
    them the same sealed rows as another run's: salt, key columns and target; in time plans the window too; and how
    manieth seal of the name it is, where a new one was asked for."""
    seal, columns = session.seal, list(session.made_of)
    identity = {"columns": columns, "target": session.run.target or "target"}
    if seal is None:
        identity["given"] = digest_values(
            *np.unique(np.asarray(session.workdir.read_array("sealed_row_keys"))).tolist()
        )
    else:
        identity |= {"salt": seal.salt, "kind": seal.kind, "cut": seal.cut}
        identity |= {"number": seal.number} if seal.number > 1 else {}  # a time plan's has no other salt
    unit = "group" if sealed.group is not None else "block" if sealed.time is not None else "row"
    return {"unit": unit, "made_of": columns, "forms": forms(sealed), "identity": identity}


def forms(table: Table) -> list[str]:
    """The features, each with what its values are to a key."""
    return sorted(f"{to_key_form(kind)}:{column}" for column, kind in table.kinds.items())


def signal(session: Session) -> None:
    """Checks how the features go with the target, among work rows only; never stops."""
    events.emit(events.Stage("check"))
    with session.ledger.stage("validation"):
        work = session.work
        session.found(check_signal(work.features, work.target, work.task, work.classes))
