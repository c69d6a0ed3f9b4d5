"""The last stage: the model becomes a version in the registry, the numbers a report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from optuna.distributions import distribution_to_json

from models.conformal import percent
from models.families import families
from models.outcome import STATES, FamilyOutcome, Interval, Report, Warned
from models.schedule import changes
from tasks import coverage, pickled, progress
from tasks.conclude import Concluded, decided
from tasks.deliver import delivered, trusted, unsafe
from tasks.earlier import described
from tasks.front import delivered_costs, outcomes, points, said
from tasks.importance import Drawing, Drawn, write_down
from tasks.intake import made_of
from tasks.profiles import profiled
from tasks.session import Session
from tasks.unchanged import identity
from tasks.warm import saving, saving_said

_EXAMPLE_ROWS = 5
_STAGES = ("reading", "sealing", "validation", "shortlist", "tuning", "conclusion")


def publish(session: Session, concluded: Concluded) -> Report:
    """Registers the model, writes every artifact down, and returns the report."""
    progress.emit(progress.Stage("register"))
    with session.ledger.stage("registration"):
        _close_parts(session, concluded)
        drawing = Drawing(session, concluded)
        version = _registered(session, concluded)
        searched = drawing.ended()
        report = _report(session, concluded, version)
        _artifacts(session, concluded, report, searched)
        _close(session, report)
    session.own("done")
    return report


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
    """A few rows as a consumer gives them; of a series the last ones with their target, the very last to be predicted.
    """
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
        *([coverage.write(scores, model, folder)] if scores else []),
    ]


def write_row_keys(session: Session, file: Path) -> None:
    """Writes which rows this run trained on and which it sealed, by their keys, and what these are made of."""
    trained, sealed = (
        np.unique(np.asarray(session.workdir.read_array(name))) for name in ("row_keys", "sealed_row_keys")
    )
    np.savez_compressed(file, trained=trained, sealed=sealed, made_of=np.array(made_of(session.table)))


def _numbers(concluded: Concluded | Report) -> dict[str, float]:
    """The metrics of the pipeline run; what there is not is left out."""
    found: dict[str, float | None] = {"optimism": concluded.optimism, "agreement": concluded.agreement}
    for name, interval in (("estimate", concluded.estimate), ("test", concluded.test)):
        if interval is not None:
            found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for one in concluded.coverage:
        found |= {f"coverage_{percent(one.level)}": one.covered, f"size_{percent(one.level)}": one.size}
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


def _report(session: Session, concluded: Concluded, version: dict[str, Any]) -> Report:
    _unused(session)
    if names := unsafe(concluded):
        session.note(f"The version is a pickle and no champion by itself. {pickled.reason(names)}")
    if saved := saving_said(session):
        session.note(saved)
    if session.table.history is not None:
        session.note(_forecasts(session, concluded))
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
        warnings=tuple(Warned(f.check, f.message, f.columns) for f in session.findings if f.verdict == "warn"),
        left_out=dict(session.level.left_out),
        sentence=_sentence(session, concluded, said(objectives)),
        notes=tuple(session.notes),
        alias=version["alias"],
        coverage=concluded.coverage,
        objectives=objectives,
        front=tuple(p for p in points(session, concluded) if p.picked or (p.front and session.goal.several)),
        pick=None if session.goal.plain else session.goal.words,
        warm=session.warm and session.warm.source,
        tracking_uri=session.journal.tracking_uri,
        workdir=str(session.workdir.path),
    )
    return report


def _forecasts(session: Session, concluded: Concluded) -> str:
    """What must be known of a model that forecasts, and whether it is better than the references."""
    history = session.table.history
    assert history is not None
    said = (
        f"This model is no function of one row: it needs the rows with a known {history.target!r} from before "
        f"{history.horizon[0]} ago."
    )
    marks = [f for f in concluded.families if not families()[f.name].tunable and f.estimate is not None]
    if concluded.estimate is None or not marks:
        return said
    gain = session.metric.gain
    best = max(marks, key=lambda f: gain(f.estimate.value))  # pyright: ignore[reportOptionalMemberAccess]
    assert best.estimate is not None
    verb = "beats" if gain(concluded.estimate.value) > gain(best.estimate.value) else "does NOT beat"
    own = f"{session.metric.name} {shown(concluded.estimate.value)}"
    return f"{said} With {own} it {verb} the reference {best.name}, which has {shown(best.estimate.value)}."


def _unused(session: Session) -> None:
    """Says why, where less than nine tenths of the time was used."""
    limit, used = session.ledger.limit, session.ledger.elapsed
    if limit is not None and used < 0.9 * limit:
        kept = session.ledger.registration
        session.note(
            f"{limit - used:.0f} of {limit:.0f} s were not used: the end took less than was kept for it "
            f"({kept:.0f} s to register), or every study had all the configurations it may have."
        )


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
        "idle": max(0.0, tuned * session.workers - fitting),
    }


def shown(value: float) -> str:
    """Four significant digits, or whole numbers where they are large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _sentence(session: Session, concluded: Concluded, beside: str = "") -> str:
    """The result in words."""
    if concluded.estimate is None:
        return f"{concluded.winner} is delivered; not every fold could be judged, so there is no estimate."
    text = (
        f"Expect {session.metric.name} {_between(concluded.estimate)} on new rows "
        f"({concluded.winner} is {'picked' if session.goal.several else 'the best single family'})."
    )
    text += beside
    if concluded.test is not None:
        text += f" The sealed test set, opened once, says {_between(concluded.test)}."
    if session.warm is not None:
        text += " After a warm start the estimate may flatter"
        text += ": the number to publish is the test score." if concluded.test is not None else "."
    if concluded.agreement is not None:
        text += f" {_agreement(session, concluded.agreement)} (z = {concluded.agreement:+.1f})."
    if not concluded.beats_constant:
        text += " It is no better than a constant prediction: no alias is set."
    return text


def _agreement(session: Session, z: float) -> str:
    if abs(z) < 2:
        return "The two agree"
    if session.run.split.time is not None:
        return f"The newest rows are {'harder' if z > 0 else 'easier'} than the older ones: the table drifts"
    return "The two DISAGREE: be careful with either"


def _between(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return shown(interval.value)
    return f"{shown(interval.value)} ({shown(interval.low)} to {shown(interval.high)})"


def _close_parts(session: Session, concluded: Concluded) -> None:
    """Ends the family and fold runs with what was found."""
    for family in concluded.families:
        for fold in session.folds:
            _close_fold(session, concluded, family.name, fold)
        numbers = {**_family_numbers(family), **saving(session).get(family.name, {})}
        session.record(family.name, "family", parent="run", status="FINISHED", metrics=numbers)


def _close_fold(session: Session, concluded: Concluded, name: str, fold: str) -> None:
    best = session.goal.best(session.trials.get((name, fold), []))
    if best is None:
        session.record(f"{name}/{fold}", "fold", parent=name, status="FAILED")
        return
    judged = session.workdir.read_json(session.job(name, fold, best.number, {}).file + ".json") or {}
    metrics = {"inner": best.inner, "outer": judged.get("score")}
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


def trials_table(session: Session) -> pd.DataFrame:
    """Every trial of the run, a row each."""
    return pd.DataFrame(
        {
            "family": name, "fold": fold, "number": t.number, "state": t.state, "inner": t.inner,
            "scores": list(t.scores), "seconds": t.seconds, "peak_mb": t.peak_mb, "reason": t.reason,
            "start": t.start, "end": t.end, "params": json.dumps(dict(t.params)), "share": t.share,
            "parent": t.parent, "steps": json.dumps(t.config["steps"]) if "steps" in t.config else None,
            "measures": json.dumps(dict(t.measures)),
            "space": json.dumps({n: distribution_to_json(d) for n, d in t.distributions.items()}),
        }
        for (name, fold), trials in session.trials.items()
        for t in trials
    )  # fmt: skip


def split_table(session: Session) -> pd.DataFrame:
    """Where each row of the table was: sealed, work or left out, and for work rows the outer fold that it judged."""
    rows = pd.Index(session.table.data_rows, name="row")
    found = pd.DataFrame({"part": "left out", "judged_in": ""}, index=rows)
    found.iloc[session.sealed_places, 0] = "sealed"
    found.iloc[session.work_places, 0] = "work"
    for name, fold in session.folds.items():
        found.iloc[session.work_places[fold.judge], 1] = name
    return found.reset_index()


def _artifacts(session: Session, concluded: Concluded, report: Report, searched: Mapping[str, Drawn]) -> None:
    """Writes what the pipeline run holds beside its numbers."""
    folder = session.workdir.path / "artifacts"
    folder.mkdir(exist_ok=True)
    trials_table(session).to_parquet(folder / "trials.parquet")
    split_table(session).to_parquet(folder / "split_plan.parquet")
    board = [
        {**asdict(f), **{f"estimate_{k}": v for k, v in asdict(f.estimate).items()}} if f.estimate else asdict(f)
        for f in concluded.families
    ]
    pd.DataFrame(board).drop(columns=["estimate"], errors="ignore").to_csv(folder / "leaderboard.csv", index=False)
    for name, value in (
        ("config.json", described(session.run)),
        ("checks.json", [asdict(f) for f in session.findings]),
        ("report.json", report.as_json()),
        ("plan.json", session.workdir.read_json("plan.json")),
        ("chosen.json", {k: [asdict(m) for m in c.members] for k, c in concluded.chosen.items()}),
    ):
        text = json.dumps(value, indent=1, default=str, ensure_ascii=False)
        (folder / name).write_text(text, "utf-8")
    write_down(searched, session.metric, folder)
    (folder / "report.html").write_text(_page(session, concluded, report, searched), "utf-8")
    session.workdir.write_json("report.json", report.as_json())


def _page(session: Session, concluded: Concluded, report: Report, searched: Mapping[str, Drawn]) -> str:
    from tasks.report import Details, report_html

    rows = [r for _, r in concluded.outer]
    chosen = {
        f"{m.family} (fold {k}, weight {m.weight:.2f})": {**trial.params, **changes(trial.config)}
        for k, c in concluded.chosen.items()
        for m in c.members
        for trial in [session.trials[m.family, k][m.trial]]
    }
    outer = None
    if rows:
        outer = {
            "target": np.concatenate([r[0] for r in rows]),
            "prediction": np.concatenate([r[1] for r in rows]),
            "fold": np.concatenate([np.full(len(r[0]), i) for i, r in enumerate(rows)]),
        }
        if session.metric.needs == "label":
            outer["said"] = np.concatenate([said for _, said in decided(session, concluded)])
    return report_html(report, Details(
        trials=trials_table(session), findings=tuple(session.findings), outer=outer,
        classes=session.work.classes, chosen=chosen, plan=session.workdir.read_json("plan.json"),
        greater_is_better=session.metric.greater_is_better, searched=searched, points=points(session, concluded),
    ))  # fmt: skip


def _close(session: Session, report: Report) -> None:
    """Ends the pipeline run in MLflow with its numbers and files, and waits until MLflow holds everything."""
    session.record(
        "run", "pipeline", status="FINISHED",
        metrics={
            **_numbers(report), **_of_objectives(report), **saving(session)[""],
            **{f"seconds_{k}": v for k, v in report.seconds.items()},
        },
        artifacts=[[str(session.workdir.path / "artifacts"), ""]],
        tags={
            "nestor.winner": report.winner, "nestor.how": report.how.method,
            **({"nestor.warm": report.warm} if report.warm else {}),
            **identity(session.run, session.table.fingerprint),
        },
    )  # fmt: skip
    left = session.journal.drain(60.0 if session.ledger.limit is None else max(3.0, session.ledger.left))
    if left:
        session.note(f"MLflow does not hold {left} records yet: `--resume` hands them over.")
    if session.mirror is not None:
        session.note(session.mirror.end(session.ledger.left))
