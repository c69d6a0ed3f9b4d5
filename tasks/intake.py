"""From the address of a table to work rows and sealed rows: read, check the form, seal, check the signal."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from models import fairness
from models.address import masked
from models.class_weight import class_weights
from models.errors import InputError, listed, shortened
from models.estimate import time_blocks
from models.families import family
from models.forecast import wide
from models.metric import metric_for
from models.objectives import goal_for
from models.seal import Seal, choose_seal, digest, form, keys, renewed, sealed_rows, work_rows
from models.search import strategy
from models.split import Plan, plan_for
from models.table import Finding, Table
from tasks import progress, workers
from tasks.data import read
from tasks.earlier import described, flat
from tasks.session import Session
from tasks.validate import check_form, check_signal


def take_in(session: Session) -> None:
    """Reads the table, checks its form, and starts the pool of workers."""
    for name in (*session.run.search.families, *session.run.families):
        family(name)  # an unknown name is said before anything is read
    strategy(session.run.search.strategy)
    data = session.run.data
    progress.emit(progress.Stage("read", shortened(masked(data)) if isinstance(data, str) else ""))
    with session.ledger.stage("reading"):
        table = check_form(read(session.run, session.began), session.run)
        # skrub takes a second to import: in the fork server once, not in every worker.
        workers.preload("skrub")
        session.table = table
        session.found(table.findings)
        session.metric = metric_for(session.run.metric, table.task, table.classes, session.run.costs)
        session.goal = goal_for(session.metric, session.run.search)
        _comparable(session)
        class_weights(session.run.class_weight, table.classes)  # an unknown label is said before anything is fitted
        _same_table(session)
        _open(session)
    session.start_pool()


def _comparable(session: Session) -> None:
    """InputError where subgroups that are to be compared can't be."""
    table = session.table
    for one in session.goal.measured:
        if isinstance(one.metric, fairness.Gap) and table.subgroups is not None:
            fairness.check(table.subgroups[one.column], table.target, one.metric.by_class)


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
    kept = session.workdir.read_json("table.json")
    if kept is None:
        session.workdir.write_json("table.json", {"fingerprint": session.table.fingerprint})
    elif kept["fingerprint"] != session.table.fingerprint:
        raise InputError(
            f"{session.table.reading.source} has changed since the run in {session.workdir.path} began, so it can't go "
            "on. Start a new run without --resume."
        )


def seal(session: Session) -> None:
    """Divides the rows into sealed and work rows, writes both down for the workers, and makes the plan."""
    progress.emit(progress.Stage("seal"))
    with session.ledger.stage("sealing"):
        table = session.table
        whole, _ = plan_for(table, session.run)
        sealed = _sealed(session, table, whole)
        session.work_places = np.flatnonzero(work_rows(sealed, whole.keys, table.time, session.run.split.gap))
        session.sealed_places = np.flatnonzero(sealed)
        # Keys and copies are told by the source's own columns, whatever history makes of them.
        session.plan, findings = plan_for(table.take(session.work_places), session.run)
        full = wide(table)
        session.work = full.take(session.work_places)
        session.found(findings)
        _stop(findings)
        _learnable(session, sealed)
        session.keys = _bootstrap_keys(session.work, session.plan.keys)
        row_keys = keys(_key_columns(table))
        for prefix, places in (("", session.work_places), ("sealed_", session.sealed_places)):
            session.workdir.write_array(f"{prefix}row_keys", row_keys[places])
        _write(session, full.take(session.sealed_places) if sealed.any() else None)


def _sealed(session: Session, table: Table, whole: Plan) -> np.ndarray:
    """True where a row is sealed: where the user says so, else by the seal that the name's first run fixed."""
    if table.test is not None:
        if not 0 < table.test.sum() < table.rows:
            raise InputError("The test rows that were given are all the rows, or none.")
        session.note(f"{int(table.test.sum())} rows that you gave are the sealed test set.")
        session.seal_id = "given"
        return table.test
    named = _key_columns(table)
    row_keys = keys(named)
    found, sentence = _seal(session, table, whole, named, row_keys)
    if found is None:
        session.note(f"{sentence} So there is no test score and no agreement.")
        return np.zeros(table.rows, dtype=bool)
    session.seal, session.seal_id = found, f"{found.kind}-{found.salt}-{','.join(found.columns)}"
    sealed = sealed_rows(found, row_keys, table.time)
    session.found([Finding("seal", "pass", f"{int(sealed.sum()):,} of {table.rows:,} rows are sealed until the end.")])
    return sealed


def _key_columns(table: Table) -> pd.DataFrame:
    """What a row's key is made of: its group, its ids, else its features."""
    if table.group_names is not None:
        return table.group_names
    return table.features if table.ids is None else table.ids


def _seal(
    session: Session, table: Table, whole: Plan, named: pd.DataFrame, row_keys: np.ndarray
) -> tuple[Seal | None, str]:
    """The seal that this name keeps, fixed now if this is its first run."""
    kept = session.workdir.read_json("seal.json") or session.earlier_seal()
    target, salt = f"{table.task}:{','.join(named.columns)}", session.run.split.salt
    same = kept is not None and kept.get("share") == session.run.split.sealed and kept.get("target") == target
    if kept is not None and same and (salt in (None, kept["salt"]) or kept["kind"] == "time"):
        own = Seal(kept["kind"], tuple(kept["columns"]), kept["fraction"], kept["salt"], kept["cut"])
        return renewed(own, table.time), ""
    found, sentence = choose_seal(
        row_keys, whole.strata, whole.kind, tuple(named.columns), session.run.split.sealed, table.time, salt
    )
    if found is None and salt is not None:
        raise InputError(f"With split.salt {salt} too few rows or too many would be sealed: take another, 0 to 99.")
    if found is not None:
        settings = {**found.__dict__, "share": session.run.split.sealed, "target": target, "asked": salt is not None}
        session.workdir.write_json("seal.json", settings)
        session.keep_seal(settings)
    return found, sentence


def _stop(findings: tuple[Finding, ...]) -> None:
    stops = [f.message for f in findings if f.verdict == "stop"]
    if stops:
        raise InputError(" ".join(stops))


def _learnable(session: Session, sealed: np.ndarray) -> None:
    """InputError where the sealed rows, and what is left out beside them, took every row of a class."""
    table = session.table
    gone = np.setdiff1d(np.arange(len(table.classes)), session.work.target)
    if not len(gone):
        return
    apart = ", or left out to keep these apart (their copies and groups, later rows, the gap in time)"
    drawn = "Seal fewer rows (--sealed), other ones (--salt, --test)"
    raise InputError(
        f"All rows with the target {listed([table.classes[code] for code in gone])} are sealed for the final test"
        f"{'' if sealed[np.isin(table.target, gone)].all() else apart}, so no model could learn what they are. "
        f"{drawn if table.test is None else 'Give other test rows'}"
        f"{', take a smaller gap (split.gap)' if session.run.split.gap else ''}, or leave these rows out of the table."
    )


def _bootstrap_keys(table: Table, plan_keys: np.ndarray) -> np.ndarray:
    """What a bootstrap draws: groups, blocks of time, else rows with their copies."""
    return time_blocks(table.time) if table.time is not None and table.group is None else plan_keys


def _write(session: Session, sealed: Table | None) -> None:
    """Writes work rows and, in files of their own, sealed rows."""
    session.sealed = sealed
    for prefix, table in (("", session.work), ("sealed_", sealed)):
        if table is not None:
            session.workdir.write_frame("sealed" if prefix else "work", table.features)
            session.workdir.write_array(f"{prefix}target", table.target)
            if table.weight is not None:
                session.workdir.write_array(f"{prefix}weight", table.weight)
    if sealed is not None:
        # Rows were sealed by their keys, so those of one key came in together: they are drawn together.
        session.sealed_keys = _bootstrap_keys(sealed, np.asarray(session.workdir.read_array("sealed_row_keys")))
        session.workdir.write_array("sealed_units", session.sealed_keys)
        if sealed.group is not None:
            session.workdir.write_array("sealed_group", sealed.group)
        session.workdir.write_json("sealed.json", _sealed_as(session, sealed))


def _sealed_as(session: Session, sealed: Table) -> dict[str, Any]:
    """What a gate must know of the sealed rows: what a bootstrap draws, what their keys are made of, and what makes
    them the same sealed rows as another run's: salt, key columns and target; in time plans the window too."""
    seal, columns = session.seal, made_of(session.table)
    identity = {"columns": columns, "target": session.run.target or "target"}
    if seal is None:
        identity["given"] = digest(*np.unique(np.asarray(session.workdir.read_array("sealed_row_keys"))).tolist())
    else:
        identity |= {"salt": seal.salt, "kind": seal.kind, "cut": seal.cut}
    unit = "group" if sealed.group is not None else "block" if sealed.time is not None else "row"
    return {"unit": unit, "made_of": columns, "identity": identity}


def made_of(table: Table) -> list[str]:
    """The columns that a row's key is made of, each with what it is."""
    for role, frame in (("group", table.group_names), ("id", table.ids)):
        if frame is not None:
            return sorted(f"{role}:{column}" for column in frame.columns)
    return sorted(f"{form(kind)}:{column}" for column, kind in table.kinds.items())


def signal(session: Session) -> None:
    """Checks how the features go with the target, among work rows only; never stops."""
    progress.emit(progress.Stage("check"))
    with session.ledger.stage("validation"):
        work = session.work
        session.found(check_signal(work.features, work.target, work.task, work.classes))
