"""A warm start: the best configurations of an earlier run, fixed in the run's folder before anything is tuned, and what
they saved in the end.

A configuration from a run over some of the same rows was chosen with rows in sight that judge today, so the estimate
may flatter: the run says so, and the number to publish is its test score."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd
from optuna.distributions import json_to_distribution

from models.errors import InputError, join_names
from models.families import load_families
from models.fitting.family import Family
from models.metrics.metric import Metric, make_metric
from models.search import require_strategy
from models.studies.warm_start import NEAR, WarmStart, choose_initial_params, count_until_best, explain_misfit
from models.tuning.goal import Goal
from models.tuning.space import make_view
from models.tuning.trial import Trial
from tasks.planning.studies import make_fold_shape

if TYPE_CHECKING:
    from tasks.values import RunPlan, Studies

EarlierStudies = Mapping[str, Mapping[str, Sequence[Trial]]]
"""Family -> fold -> its trials in order."""


def load_warm_start(plan: RunPlan) -> WarmStart | None:
    """What the run that the settings name hands over, fixed; a resumed run keeps what was fixed first."""
    folder, source = plan.context.folder, plan.run.search.warm_from
    record = folder.read_fixed(folder.read_json, "warm.json")
    if record is None and (source is not None or require_strategy(plan.run.search.strategy).remembers):
        run, notes = (plan.context.journal.call("past", run=source), []) if source else _find_similar_run(plan)
        # That there was nothing to hand over is fixed too: later there may be.
        record = _make_warm_start(plan, run) if run else {"warm": None, "notes": []}
        record["notes"] = [*notes, *record["notes"]]
        folder.write_json("warm.json", record)
    if record is None:
        return None
    for note in record["notes"]:
        plan.context.note(note)
    return WarmStart(**record["warm"]) if record["warm"] else None


def _find_similar_run(plan: RunPlan) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest finished run of this model, else of the model whose table is most like this one, and a word where it
    is not this one's; None where there is neither."""
    try:
        return plan.context.journal.call("past", run=plan.context.name), []
    except InputError:
        columns = list(plan.table.kinds)
        metric = plan.metric
        run = plan.context.journal.call("similar", task=metric.task, metric=metric.name, columns=columns)
    sentence = f"There is no earlier run of {plan.context.name}"
    if run is None:
        return None, [f"{sentence}, nor of a model like it, whose configurations could be tried first."]
    return run, [f"{sentence}; the table of {run['name']} has {run['shared']} of its {len(columns)} columns."]


def _make_warm_start(plan: RunPlan, run: Mapping[str, Any]) -> dict[str, Any]:
    """What the run hands over, as JSON values, and what is said of it."""
    metric = _find_earlier_metric(plan, run)
    studies, families = read_studies(pd.read_parquet(run["trials"])), load_families()
    configurations: dict[str, list[dict[str, Any]]] = {}
    notes = []
    for name in (n for n in plan.scope.families if n in studies and families[n].tunable):
        configurations[name] = []
        goal = _choose_goal(plan, studies[name], metric)
        for params in choose_initial_params(studies[name], metric, families[name].default, goal=goal):
            reason = next((w for k in plan.folds if (w := _explain_misfit(plan, families[name], k, params))), "")
            configurations[name] += [] if reason else [params]
            notes += [f"A configuration of {name} is not taken over from the earlier run: {reason}."] if reason else []
    means = {name: mean for name in configurations if (mean := _average_until_best(studies[name], metric))}
    warm = WarmStart(run["run_id"], {n: c for n, c in configurations.items() if c}, means)
    return {"warm": asdict(warm), "notes": [_describe_warm_start(warm, run["name"]), *dict.fromkeys(notes)]}


def _explain_misfit(plan: RunPlan, family: Family, fold: str, params: Mapping[str, Any]) -> str:
    """Why the params are no configuration in this fold, the user's ranges kept; empty where they are one."""
    # One that says whether to take the logarithm is taken over where some fold asks for that.
    shape = replace(make_fold_shape(plan, fold), skewed=any(make_fold_shape(plan, k).skewed for k in plan.folds))
    return explain_misfit(make_view(family, shape, plan.metric, plan.run).family, shape, params)


def _choose_goal(plan: RunPlan, studies: Mapping[str, Sequence[Trial]], metric: Metric) -> Goal:
    """What is best in the earlier studies: what this run is after, where they measured all of it; else their metric."""
    names = {objective.name for objective in plan.goal.measured}
    is_complete = all(names <= set(t.measures) for trials in studies.values() for t in trials if t.inner is not None)
    return plan.goal if is_complete and metric == plan.metric else Goal(metric)


def _find_earlier_metric(plan: RunPlan, run: Mapping[str, Any]) -> Metric:
    """The metric of the earlier run."""
    report = run["report"]
    if (report["metric"], report["task"]) == (plan.metric.name, plan.metric.task):
        return plan.metric
    config = run["config"]
    return make_metric(config.get("metric"), report["task"], plan.table.classes, config.get("costs"))


def _describe_warm_start(warm: WarmStart, name: str) -> str:
    counts = [f"{len(configurations)} of {family}" for family, configurations in warm.configurations.items()]
    if not counts:
        return f"Warm start from run {warm.source[:12]} of {name}: its best configurations were the defaults."
    return (
        f"Warm start from run {warm.source[:12]} of {name}: its best configurations ({join_names(counts)}) are tried "
        "right "
        "after the defaults."
    )


def read_studies(table: pd.DataFrame) -> dict[str, dict[str, list[Trial]]]:
    """The trials of a run's table."""
    studies: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    read = lru_cache(json_to_distribution)
    for row in table.sort_values("number", kind="stable").to_dict("records"):
        params, scores = json.loads(row["params"]), tuple(map(float, row["scores"]))
        config = {"steps": json.loads(row["steps"])} if isinstance(row.get("steps"), str) else {}
        space = {name: read(distribution) for name, distribution in json.loads(row.get("space", "{}")).items()}
        studies[row["family"]][row["fold"]].append(
            Trial(
                int(row["number"]), params, config, row["state"], scores, seconds=float(row["seconds"]),
                share=float(row.get("share", 1.0)), measures=json.loads(row.get("measures", "{}")),
                distributions=space,
            )
        )  # fmt: skip
    return studies


def _average_until_best(studies: Mapping[str, Sequence[Trial]], metric: Metric) -> list[float]:
    """`count_until_best`, averaged over the studies of one family; empty where no study has a score."""
    counts = [f for trials in studies.values() if (f := count_until_best(trials, metric))]
    return [sum(f[i] for f in counts) / len(counts) for i in (0, 1)] if counts else []


def measure_savings(studies: Studies) -> dict[str, dict[str, float]]:
    """By family, and averaged under "": `trials_to_best`, `seconds_to_best`, and after a warm start how much less that
    is than in the earlier run."""
    savings: dict[str, dict[str, float]] = {}
    for name in (n for n in studies.scope.families if load_families()[n].tunable):
        if means := _average_until_best(studies.list_family_trials(name), studies.metric):
            earlier = studies.warm_start.until.get(name) if studies.warm_start else None
            savings[name] = {"trials_to_best": means[0], "seconds_to_best": means[1]}
            if earlier:
                savings[name] |= {
                    "warm_saved_trials": earlier[0] - means[0],
                    "warm_saved_seconds": earlier[1] - means[1],
                }
    keys = dict.fromkeys(key for numbers in savings.values() for key in numbers)
    columns = {key: [n[key] for n in savings.values() if key in n] for key in keys}
    return {**savings, "": {key: sum(values) / len(values) for key, values in columns.items()}}


def describe_savings(studies: Studies) -> str:
    """What the warm start saved, in words; empty without one."""
    if studies.warm_start is None:
        return ""
    texts = []
    for name, numbers in measure_savings(studies).items():
        if name in studies.warm_start.until:
            count, earlier_count = numbers["trials_to_best"], studies.warm_start.until[name][0]
            texts.append(f"{name} {count:.1f} (before: {earlier_count:.1f})")
    if not texts:
        return ""
    return (
        f"Configurations tried in a fold until one was within {100 * NEAR:.1g} % of the best, with the warm start: "
        f"{join_names(texts, width=80)}."
    )
