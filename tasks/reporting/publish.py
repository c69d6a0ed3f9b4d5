"""The last stage: the model becomes a version in the registry, the numbers a report."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.evaluation.conformal import format_level
from models.evaluation.verdict import describe_result
from models.outcome import STATES, FamilyOutcome, FrontPoint, Report, ReportWarning, list_subset_scores, to_json_value
from tasks.context import RunContext
from tasks.evaluation.evaluate import Evaluation
from tasks.evaluation.objectives import evaluate_objectives, list_points, measure_delivered_costs
from tasks.evaluation.package import list_trusted_types, list_unsafe_families, package_models
from tasks.evaluation.table_profile import profile_run
from tasks.planning.warm_start import describe_savings, measure_savings
from tasks.registry import pickles
from tasks.registry.conformal_file import write_conformal
from tasks.registry.new_version import NewVersion
from tasks.reporting import artifacts, sentences
from tasks.reporting.importance import ImportanceQueue
from tasks.reporting.note import describe_run, describe_version
from tasks.run.stage import REGISTER, STAGES, TUNE
from tasks.tuning import selection
from tasks.values import SealedTable, Studies

_EXAMPLE_ROWS = 5


def publish(evaluation: Evaluation) -> Report:
    """Registers the model, writes every artifact down, and returns the report."""
    with evaluation.context.enter_stage(REGISTER):
        savings = measure_savings(evaluation)
        _close_parts(evaluation, savings)
        queue = ImportanceQueue(evaluation)
        version = _register_model(evaluation)
        searches = queue.collect()
        points = list_points(evaluation)
        report = _make_report(evaluation, version, points)
        artifacts.write_artifacts(evaluation, report, searches, points)
        backlog = _close_run(evaluation.context, report, savings[""])
    evaluation.context.write_state("stopped" if backlog else "done")
    return replace(report, notes=tuple(evaluation.context.notes))


def _register_model(evaluation: Evaluation) -> dict[str, Any]:
    model, twin = package_models(evaluation)
    folder = evaluation.context.folder.path / "delivered"
    folder.mkdir(exist_ok=True)
    # Plain pickles: joblib takes a hundred times as long over thousands of small arrays, as trees are.
    (folder / "model.pkl").write_bytes(pickle.dumps(model, protocol=5))
    if twin is not None:
        (folder / "tested.pkl").write_bytes(pickle.dumps(twin, protocol=5))
    make_example(evaluation).to_parquet(folder / "example.parquet")
    costs = measure_delivered_costs(evaluation, folder / "model.pkl")
    work = evaluation.work_rows
    version = NewVersion(
        name=evaluation.context.name,
        model=str(folder / "model.pkl"),
        tested=str(folder / "tested.pkl") if twin is not None else None,
        example=str(folder / "example.parquet"),
        kinds=work.kinds,
        task=work.task,
        classes=list(work.classes),
        reading=asdict(evaluation.table.reading),
        trusted=list_trusted_types(evaluation),
        unsafe=list_unsafe_families(evaluation.chosen),
        beats_constant=evaluation.beats_constant,
        metrics=_list_metrics(evaluation),
        tags={"nestor.metric": evaluation.metric.name, "nestor.winner": evaluation.winner},
        description=describe_version(evaluation),
        extra={**make_version_facts(evaluation), **_find_cost_rule(evaluation)},
        beside=[str(path) for path in _write_version_files(evaluation, model, folder)],
    )
    registration = evaluation.context.journal.call("register", **vars(version))
    return {**registration, "costs": costs}


def _find_cost_rule(sealed: SealedTable) -> dict[str, Any]:
    """The costs by which labels are decided where no library class holds them: a threshold does for two classes."""
    several = len(sealed.work_rows.classes) > 2 and sealed.metric.costs
    return {"costs": sealed.metric.costs} if several else {}


def make_version_facts(sealed: SealedTable) -> dict[str, Any]:
    """What a version says of itself beside its reading: target, metric, and the plan of its history."""
    history = sealed.table.history
    facts = {"target": sealed.run.target or "target", "metric": sealed.metric.name}
    return facts if history is None else {**facts, "history": asdict(history)}


def make_example(sealed: SealedTable) -> pd.DataFrame:
    """A few rows as a consumer gives them; of a series the last ones with their target, the last to be predicted."""
    if sealed.table.history is None:
        return sealed.work_rows.features.head(_EXAMPLE_ROWS)
    rows = sealed.table.take(np.argsort(np.asarray(sealed.table.time), kind="stable")[-_EXAMPLE_ROWS:])
    labels = np.array(rows.classes)[rows.target] if rows.classes else rows.target
    target = pd.Series(labels, dtype="object" if rows.classes else "float64")
    target.iloc[-1] = None
    return rows.features.assign(**{sealed.run.target or "target": target})


def _write_version_files(evaluation: Evaluation, model: Any, folder: Path) -> list[Path]:
    """What later rows meet this version by: which rows it knows, what they looked like, how far off it was."""
    write_row_keys(evaluation, folder / "row_keys.npz")
    (folder / "profile.json").write_text(json.dumps(profile_run(evaluation).as_json()), "utf-8")
    scores = evaluation.conformal
    return [
        folder / "row_keys.npz",
        folder / "profile.json",
        *([write_conformal(scores, model, folder)] if scores else []),
    ]


def write_row_keys(sealed: SealedTable, file: Path) -> None:
    """Writes which rows this run trained on and which it sealed, by their keys, what these are made of, and how many
    of the trained ones differ in their features."""
    division = sealed.division
    work_keys, sealed_keys = (
        np.unique(division.row_keys[places]) for places in (division.work_places, division.sealed_places)
    )
    facts = {"made_of": np.array(division.made_of), "distinct": division.distinct}
    np.savez_compressed(file, trained=work_keys, sealed=sealed_keys, **facts)


def _list_metrics(outcome: Evaluation | Report) -> dict[str, float]:
    """The metrics of the pipeline run; what there is not is left out."""
    metrics: dict[str, float | None] = {"optimism": outcome.optimism, "agreement": outcome.agreement}
    for name, interval in (("estimate", outcome.estimate), ("test", outcome.test)):
        if interval is not None:
            metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name, part in list_subset_scores(outcome.repeats):
        metrics[f"share_{name}"] = part.share
        if part.score is not None:
            metrics |= {name: part.score.value, f"{name}_low": part.score.low, f"{name}_high": part.score.high}
    for coverage in outcome.coverage:
        metrics |= {
            f"coverage_{format_level(coverage.level)}": coverage.covered,
            f"size_{format_level(coverage.level)}": coverage.size,
        }
    return {k: float(v) for k, v in metrics.items() if v is not None}


def _list_objective_metrics(report: Report) -> dict[str, float]:
    """The metrics of the pipeline run that tell of objectives beside the metric."""
    metrics: dict[str, float | None] = {}
    for objective in report.objectives[1:]:
        for kind, interval in (("outer", objective.estimate), ("test", objective.test)):
            if interval is not None:
                name = f"{kind}_{objective.name}"
                metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        metrics[f"delivered_{objective.name}"] = objective.delivered
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _make_report(evaluation: Evaluation, version: dict[str, Any], points: tuple[FrontPoint, ...]) -> Report:
    sentences.note_unused_time(evaluation.context)
    if names := list_unsafe_families(evaluation.chosen):
        sentence = "This version is saved as a pickle, so it does not become champion by itself."
        evaluation.context.note(f"{sentence} {pickles.explain_pickle(names)}")
    if savings := describe_savings(evaluation):
        evaluation.context.note(savings)
    if evaluation.table.history is not None:
        evaluation.context.note(sentences.describe_forecasts(evaluation))
    objectives = evaluate_objectives(evaluation, version["costs"])
    states = Counter(t.state for trials in evaluation.trials.values() for t in trials)
    report = Report(
        name=evaluation.context.name,
        version=version["version"],
        run_id=version["run_id"],
        task=evaluation.work_rows.task,
        metric=evaluation.metric.name,
        winner=evaluation.winner,
        how=evaluation.scope.how,
        estimate=evaluation.estimate,
        test=evaluation.test,
        optimism=evaluation.optimism,
        agreement=evaluation.agreement,
        families=evaluation.families,
        trials={state: states.get(state, 0) for state in STATES},
        seconds=_count_seconds(evaluation),
        warnings=tuple(
            ReportWarning(f.check, f.message, f.columns) for f in evaluation.context.findings if f.verdict == "warn"
        ),
        left_out=dict(evaluation.scope.left_out),
        notes=tuple(evaluation.context.notes),
        alias=version["alias"],
        repeats=evaluation.repeats,
        coverage=evaluation.coverage,
        objectives=objectives,
        front=tuple(p for p in points if p.picked or (p.front and evaluation.goal.several)),
        pick=None if evaluation.goal.plain else evaluation.goal.words,
        warm=evaluation.warm_start and evaluation.warm_start.source,
        tracking_uri=evaluation.context.journal.tracking_uri,
        workdir=str(evaluation.context.folder.path),
        openings=evaluation.openings,
        seal=1 if evaluation.division.seal is None else evaluation.division.seal.number,
        over_time=evaluation.run.split.time is not None,
        beats_constant=evaluation.beats_constant,
    )
    return replace(report, sentence=describe_result(report))


def _count_seconds(studies: Studies) -> dict[str, float]:
    ledger, context = studies.context.ledger, studies.context
    stages = {stage.name: ledger.sum_stage(stage.name) for stage in STAGES}
    fitting = sum(ledger.fitting.values())
    return {
        "total": ledger.elapsed,
        "startup": ledger.elapsed - sum(stages.values()),
        **stages,
        "fitting": fitting,
        "tracking": context.journal.measure_seconds_per_record() * sum(map(len, studies.trials.values())),
        "idle": max(0.0, stages[TUNE.name] * context.workers - (fitting - ledger.recalled)),
    }


def _close_parts(evaluation: Evaluation, savings: Mapping[str, Mapping[str, float]]) -> None:
    """Ends the family and fold runs with what was found."""
    for family in evaluation.families:
        for fold in evaluation.folds:
            _close_fold(evaluation, family.name, fold)
        numbers = {**_list_family_metrics(family), **savings.get(family.name, {})}
        evaluation.context.record(family.name, "family", parent="run", status="FINISHED", metrics=numbers)


def _close_fold(evaluation: Evaluation, name: str, fold: str) -> None:
    best = selection.pick_family_trial(evaluation, name, fold)
    if best is None:
        evaluation.context.record(f"{name}/{fold}", "fold", parent=name, status="FAILED")
        return
    result = evaluation.context.folder.try_json(evaluation.make_job(name, fold, best.number, {}).file + ".json") or {}
    metrics = to_json_value({"inner": best.inner, "outer": result.get("score")})
    members = evaluation.chosen[fold].members if fold in evaluation.chosen else ()
    weight = sum(m.weight for m in members if m.family == name)
    evaluation.context.record(
        f"{name}/{fold}", "fold", parent=name, status="FINISHED",
        metrics={k: v for k, v in metrics.items() if v is not None} | {"weight": weight},
        params={f"best.{k}": v for k, v in best.params.items()} | {"best.trial": best.number},
    )  # fmt: skip


def _list_family_metrics(family: FamilyOutcome) -> dict[str, float]:
    metrics: dict[str, float | None] = {"inner": family.inner, "trials": family.trials, "seconds": family.seconds}
    if family.estimate is not None:
        metrics |= {"estimate": family.estimate.value, "estimate_low": family.estimate.low,
                  "estimate_high": family.estimate.high}  # fmt: skip
    return {k: float(v) for k, v in metrics.items() if v is not None}


def _close_run(context: RunContext, report: Report, savings: Mapping[str, float]) -> int:
    """Ends the pipeline run in MLflow with its numbers and files, and waits until MLflow holds everything; how many
    records it does not hold when the time is up."""
    context.record(
        "run", "pipeline", status="FINISHED",
        metrics={
            **_list_metrics(report), **_list_objective_metrics(report), **savings,
            **{f"seconds_{k}": v for k, v in report.seconds.items()},
        },
        artifacts=[[str(context.folder.path / "artifacts"), ""]],
        tags={
            "nestor.winner": report.winner, "nestor.how": report.how.method,
            **({"nestor.warm": report.warm} if report.warm else {}),
        },
        note=describe_run(report),
    )  # fmt: skip
    backlog = context.journal.drain(60.0 if context.ledger.limit is None else max(3.0, context.ledger.left))
    if backlog:
        trouble = context.journal.trouble or ""
        context.note(f"{backlog:,} records are not in MLflow yet: `--resume` sends them. {trouble}".strip())
    if context.mirror is not None:
        context.note(context.mirror.end(context.ledger.left))
    return backlog
