"""The last stage: the model becomes a version in the registry, the numbers a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from models.evaluation.conformal import format_level
from models.evaluation.verdict import describe_result
from models.outcome import STATES, FamilyOutcome, FrontPoint, Report, ReportWarning, list_subset_scores, to_json_value
from tasks.evaluation.evaluate import Concluded
from tasks.evaluation.objectives import delivered_costs, outcomes, points
from tasks.evaluation.package import delivered, trusted, unsafe
from tasks.evaluation.table_profile import profiled
from tasks.planning.warm_start import saving, saving_said
from tasks.registry import pickles
from tasks.registry.conformal_file import write
from tasks.reporting import artifacts, sentences
from tasks.reporting.importance import Drawing
from tasks.reporting.note import of_run, of_version
from tasks.run import events
from tasks.session import Session
from tasks.tuning import selection

_EXAMPLE_ROWS = 5
_STAGES = ("reading", "sealing", "validation", "shortlist", "tuning", "conclusion")


def publish(session: Session, concluded: Concluded) -> Report:
    """Registers the model, writes every artifact down, and returns the report."""
    events.emit(events.Stage("register"))
    with session.ledger.stage("registration"):
        saved = saving(session)
        _close_parts(session, concluded, saved)
        drawing = Drawing(session, concluded)
        version = _registered(session, concluded)
        searched = drawing.ended()
        tried = points(session, concluded)
        report = _report(session, concluded, version, tried)
        artifacts.write(session, concluded, report, searched, tried)
        left = _close(session, report, saved[""])
    session.own("stopped" if left else "done")
    return replace(report, notes=tuple(session.notes))


def _registered(session: Session, concluded: Concluded) -> dict[str, Any]:
    model, twin = delivered(session, concluded)
    folder = session.workdir.path / "delivered"
    folder.mkdir(exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    if twin is not None:
        joblib.dump(twin, folder / "tested.joblib")
    example(session).to_parquet(folder / "example.parquet")
    kinds = session.work.kinds
    costs = delivered_costs(session, concluded, folder / "model.joblib")
    registered = session.journal.call(
        "register",
        name=session.name,
        model=str(folder / "model.joblib"),
        tested=str(folder / "tested.joblib") if twin is not None else None,
        example=str(folder / "example.parquet"),
        kinds=kinds,
        task=session.work.task,
        classes=list(session.work.classes),
        reading=asdict(session.table.reading),
        trusted=trusted(session),
        unsafe=unsafe(concluded),
        beats_constant=concluded.beats_constant,
        metrics=_numbers(concluded),
        tags={"nestor.metric": session.metric.name, "nestor.winner": concluded.winner},
        description=of_version(session, concluded),
        extra={**known_by(session), **_rule(session)},
        beside=[str(path) for path in _beside(session, concluded, model, folder)],
    )
    return {**registered, "costs": costs}


def _rule(session: Session) -> dict[str, Any]:
    """The costs by which labels are decided where no library class holds them: a threshold does for two classes."""
    several = len(session.work.classes) > 2 and session.metric.costs
    return {"costs": session.metric.costs} if several else {}


def known_by(session: Session) -> dict[str, Any]:
    """What a version says of itself beside its reading: target, metric, and the plan of its history."""
    history = session.table.history
    own = {"target": session.run.target or "target", "metric": session.metric.name}
    return own if history is None else {**own, "history": asdict(history)}


def example(session: Session) -> pd.DataFrame:
    """A few rows as a consumer gives them; of a series the last ones with their target, the last to be predicted."""
    if session.table.history is None:
        return session.work.features.head(_EXAMPLE_ROWS)
    last = session.table.take(np.argsort(np.asarray(session.table.time), kind="stable")[-_EXAMPLE_ROWS:])
    labels = np.array(last.classes)[last.target] if last.classes else last.target
    goal = pd.Series(labels, dtype="object" if last.classes else "float64")
    goal.iloc[-1] = None
    return last.features.assign(**{session.run.target or "target": goal})


def _beside(session: Session, concluded: Concluded, model: Any, folder: Path) -> list[Path]:
    """What later rows meet this version by: which rows it knows, what they looked like, how far off it was."""
    write_row_keys(session, folder / "row_keys.npz")
    (folder / "profile.json").write_text(json.dumps(profiled(session, concluded).as_json()), "utf-8")
    scores = concluded.conformal
    return [
        folder / "row_keys.npz",
        folder / "profile.json",
        *([write(scores, model, folder)] if scores else []),
    ]


def write_row_keys(session: Session, file: Path) -> None:
    """Writes which rows this run trained on and which it sealed, by their keys, what these are made of, and how many
    of the trained ones differ in their features."""
    trained, sealed = (
        np.unique(np.asarray(session.workdir.read_array(name))) for name in ("row_keys", "sealed_row_keys")
    )
    made_of = np.array(session.made_of)
    np.savez_compressed(file, trained=trained, sealed=sealed, made_of=made_of, distinct=session.distinct)


def _numbers(concluded: Concluded | Report) -> dict[str, float]:
    """The metrics of the pipeline run; what there is not is left out."""
    found: dict[str, float | None] = {"optimism": concluded.optimism, "agreement": concluded.agreement}
    for name, interval in (("estimate", concluded.estimate), ("test", concluded.test)):
        if interval is not None:
            found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name, part in list_subset_scores(concluded.repeats):
        found[f"share_{name}"] = part.share
        if part.score is not None:
            found |= {name: part.score.value, f"{name}_low": part.score.low, f"{name}_high": part.score.high}
    for one in concluded.coverage:
        found |= {f"coverage_{format_level(one.level)}": one.covered, f"size_{format_level(one.level)}": one.size}
    return {k: float(v) for k, v in found.items() if v is not None}


def _of_objectives(report: Report) -> dict[str, float]:
    """The metrics of the pipeline run that tell of objectives beside the metric."""
    found: dict[str, float | None] = {}
    for one in report.objectives[1:]:
        for kind, interval in (("outer", one.estimate), ("test", one.test)):
            if interval is not None:
                name = f"{kind}_{one.name}"
                found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        found[f"delivered_{one.name}"] = one.delivered
    return {name: float(value) for name, value in found.items() if value is not None}


def _report(session: Session, concluded: Concluded, version: dict[str, Any], tried: tuple[FrontPoint, ...]) -> Report:
    sentences.unused(session)
    if names := unsafe(concluded):
        alone = "This version is saved as a pickle, so it does not become champion by itself."
        session.note(f"{alone} {pickles.reason(names)}")
    if saved := saving_said(session):
        session.note(saved)
    if session.table.history is not None:
        session.note(sentences.of_forecasts(session, concluded))
    objectives = outcomes(session, concluded, version["costs"])
    states = Counter(t.state for trials in session.trials.values() for t in trials)
    report = Report(
        name=session.name,
        version=version["version"],
        run_id=version["run_id"],
        task=session.work.task,
        metric=session.metric.name,
        winner=concluded.winner,
        how=session.level.how,
        estimate=concluded.estimate,
        test=concluded.test,
        optimism=concluded.optimism,
        agreement=concluded.agreement,
        families=concluded.families,
        trials={state: states.get(state, 0) for state in STATES},
        seconds=_seconds(session),
        warnings=tuple(ReportWarning(f.check, f.message, f.columns) for f in session.findings if f.verdict == "warn"),
        left_out=dict(session.level.left_out),
        notes=tuple(session.notes),
        alias=version["alias"],
        repeats=concluded.repeats,
        coverage=concluded.coverage,
        objectives=objectives,
        front=tuple(p for p in tried if p.picked or (p.front and session.goal.several)),
        pick=None if session.goal.plain else session.goal.words,
        warm=session.warm and session.warm.source,
        tracking_uri=session.journal.tracking_uri,
        workdir=str(session.workdir.path),
        openings=session.openings,
        seal=1 if session.seal is None else session.seal.number,
        over_time=session.run.split.time is not None,
        beats_constant=concluded.beats_constant,
    )
    return replace(report, sentence=describe_result(report))


def _seconds(session: Session) -> dict[str, float]:
    stages = session.ledger.stages
    fitting = sum(session.ledger.fitting.values())
    tuned = stages.get("tuning", 0.0)
    return {
        "total": session.ledger.elapsed,
        "startup": session.ledger.elapsed - sum(stages.values()) - session.ledger.open_for("registration"),
        **{name: stages.get(name, 0.0) for name in _STAGES},
        "registration": session.ledger.open_for("registration"),
        "fitting": fitting,
        "tracking": session.journal.seconds_per_record() * sum(map(len, session.trials.values())),
        "idle": max(0.0, tuned * session.workers - (fitting - session.ledger.recalled)),
    }


def _close_parts(session: Session, concluded: Concluded, saved: Mapping[str, Mapping[str, float]]) -> None:
    """Ends the family and fold runs with what was found."""
    for family in concluded.families:
        for fold in session.folds:
            _close_fold(session, concluded, family.name, fold)
        numbers = {**_family_numbers(family), **saved.get(family.name, {})}
        session.record(family.name, "family", parent="run", status="FINISHED", metrics=numbers)


def _close_fold(session: Session, concluded: Concluded, name: str, fold: str) -> None:
    best = selection.of_family(session, name, fold)
    if best is None:
        session.record(f"{name}/{fold}", "fold", parent=name, status="FAILED")
        return
    judged = session.workdir.kept_json(session.job(name, fold, best.number, {}).file + ".json") or {}
    metrics = to_json_value({"inner": best.inner, "outer": judged.get("score")})
    members = concluded.chosen[fold].members if fold in concluded.chosen else ()
    weight = sum(m.weight for m in members if m.family == name)
    session.record(
        f"{name}/{fold}", "fold", parent=name, status="FINISHED",
        metrics={k: v for k, v in metrics.items() if v is not None} | {"weight": weight},
        params={f"best.{k}": v for k, v in best.params.items()} | {"best.trial": best.number},
    )  # fmt: skip


def _family_numbers(family: FamilyOutcome) -> dict[str, float]:
    found: dict[str, float | None] = {"inner": family.inner, "trials": family.trials, "seconds": family.seconds}
    if family.estimate is not None:
        found |= {"estimate": family.estimate.value, "estimate_low": family.estimate.low,
                  "estimate_high": family.estimate.high}  # fmt: skip
    return {k: float(v) for k, v in found.items() if v is not None}


def _close(session: Session, report: Report, saved: Mapping[str, float]) -> int:
    """Ends the pipeline run in MLflow with its numbers and files, and waits until MLflow holds everything; how many
    records it does not hold when the time is up."""
    session.record(
        "run", "pipeline", status="FINISHED",
        metrics={
            **_numbers(report), **_of_objectives(report), **saved,
            **{f"seconds_{k}": v for k, v in report.seconds.items()},
        },
        artifacts=[[str(session.workdir.path / "artifacts"), ""]],
        tags={
            "nestor.winner": report.winner, "nestor.how": report.how.method,
            **({"nestor.warm": report.warm} if report.warm else {}),
        },
        note=of_run(report),
    )  # fmt: skip
    left = session.journal.drain(60.0 if session.ledger.limit is None else max(3.0, session.ledger.left))
    if left:
        why = session.journal.trouble or ""
        session.note(f"{left:,} records are not in MLflow yet: `--resume` sends them. {why}".strip())
    if session.mirror is not None:
        session.note(session.mirror.end(session.ledger.left))
    return left
