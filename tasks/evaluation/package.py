"""The model that consumers get: library classes only, one object, labels in their own form.

The members of every fold (the bag) or of the search on all work rows (the refit) vote with their weights. Members are
frozen: nothing is fitted here but the vote's list of labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.utils import Bunch

from models.columns import TRUSTED
from models.data.table import Table
from models.errors import NestorError, join_names
from models.evaluation import calibration
from models.evaluation.calibration import calibrate_classifier
from models.evaluation.ensemble import EnsembleMember
from models.evaluation.threshold import find_plain_threshold
from models.families import load_family
from models.splitting.split import ALL
from tasks.evaluation.ensemble import FoldEnsemble, list_delivered, list_refits
from tasks.evaluation.evaluate import Evaluation
from tasks.tuning.tune import refit
from tasks.values import RunPlan, Studies

Voters = Sequence[tuple[str, Any, float]]
"""Name, fitted pipeline or calibrated ensemble, and weight."""


def package_models(evaluation: Evaluation) -> tuple[Any, Any | None]:
    """The model for consumers, and its tested twin where that is another one. NestorError where every member lacks a
    class."""
    chosen = evaluation.chosen
    tested = collect_voters(evaluation, list_delivered(chosen))
    if not tested:
        raise _explain_unlearned(evaluation, list_delivered(chosen))
    at = find_plain_threshold(evaluation.metric) if evaluation.threshold is None else evaluation.threshold
    if ALL not in chosen or not evaluation.joins_sealed:
        return build_model(evaluation.work_rows, tested, at), None
    one = chosen[ALL]
    if not _refit_with_sealed(evaluation, one.members):
        evaluation.context.note(
            "The last fit, with the sealed rows too, did not finish: the tested model is delivered as it is."
        )
        return build_model(evaluation.work_rows, tested, at), None
    return build_model(evaluation.work_rows, collect_voters(evaluation, [one], with_sealed=True), at), build_model(
        evaluation.work_rows, tested, at
    )


def _refit_with_sealed(studies: Studies, members: Sequence[EnsembleMember]) -> bool:
    """Whether every member could be fitted once more with the sealed rows, all of them side by side."""

    def again(member: EnsembleMember) -> bool:
        trial = studies.trials[member.family, ALL][member.trial]
        return refit(studies, member.family, ALL, trial, with_sealed=True) is not None

    with ThreadPoolExecutor(len(members)) as threads:
        return all(threads.map(again, members))


def _explain_unlearned(plan: RunPlan, chosen: Sequence[FoldEnsemble]) -> NestorError:
    """Which classes the members lack, where the search that would have seen them all came to nothing."""
    seen = [np.unique(plan.work_rows.target[plan.folds[one.fold].train]) for one in chosen]
    lacking = [label for code, label in enumerate(plan.work_rows.classes) if not all(code in codes for codes in seen)]
    why = (
        "The search on all work rows found no model, and the training rows of every fold lack at least one of these "
        f"targets: {join_names(lacking)}. So none can be delivered."
    )
    more = " Go on with --resume and more time: --budget."
    return NestorError(why if plan.context.ledger.limit is None else why + more)


def collect_voters(plan: RunPlan, chosen: Sequence[FoldEnsemble], with_sealed: bool = False) -> Voters:
    """Every member with its share: equal for folds, by weight within. A fold that is calibrated votes as one."""
    found = []
    for one in chosen:
        members = _collect_members(plan, one, with_sealed)
        if members and one.finish.calibration is not None:
            together = calibrate_classifier(_build_vote(plan.work_rows, members), one.finish.calibration)
            members = [(f"calibrated_{one.fold}_{len(members)}", together, 1.0)]
        found += [(name, fitted, share / len(chosen)) for name, fitted, share in members]
    return found


def _collect_members(plan: RunPlan, one: FoldEnsemble, with_sealed: bool) -> Voters:
    """The fold's members; those that lack a class are left out with a word."""
    found = []
    files = list_refits(plan, one, with_sealed=with_sealed)
    for member, (file, share) in zip(one.members, files, strict=True):
        pipeline, classes = plan.context.folder.read_pickle(file)
        if plan.work_rows.classes and len(classes) < len(plan.work_rows.classes):
            plan.context.note(
                f"A model of fold {one.fold} does not know all classes: it was judged, and is not delivered."
            )
            continue
        found.append((f"{member.family}_{one.fold}_{member.trial}", pipeline, share))
    return found


def build_model(table: Table, voters: Voters, threshold: float = 0.5) -> Any:
    """One fitted object: a vote over frozen pipelines; in regression a single pipeline stays as it is. With two classes
    the second is said from the threshold on."""
    if table.task == "regression" and len(voters) == 1:
        return voters[0][1]
    vote = _build_vote(table, voters, table.classes)
    if table.task != "binary" or threshold == 0.5:
        return vote
    # Fitting it would check labels and nothing else: the vote stands in its place as it is, and is written once.
    whole = FixedThresholdClassifier(DummyClassifier(), response_method="predict_proba").set_params(threshold=threshold)
    whole.estimator_ = vote
    return whole


def _build_vote(table: Table, voters: Voters, labels: Sequence[Any] = ()) -> Any:
    """The voters' weighted mean; without labels one that speaks the codes that the members know."""
    names = [(name, FrozenEstimator(pipeline)) for name, pipeline, _ in voters]
    whole = sum(w for *_, w in voters)
    weights = [w / whole for *_, w in voters]
    rows = table.features.head(max(1, len(table.classes)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if table.task == "regression":
            return _slim_vote(VotingRegressor(names, weights=weights).fit(rows, np.zeros(len(rows))))
        classes = np.array(labels) if len(labels) else np.arange(len(table.classes))
        vote = VotingClassifier(names, voting="soft", weights=weights).fit(_repeat_rows(rows, len(classes)), classes)
        # It sorts the labels; the members' columns stand in the order of the codes, the positive class last.
        vote.classes_ = vote.le_.classes_ = classes
        return _slim_vote(vote)


def _slim_vote(vote: Any) -> Any:
    """The vote with its members held once: scikit-learn keeps them thrice (as given, fitted, and by name), and skops
    would write each of them down."""
    vote.estimators = [(name, DummyClassifier()) for name, _ in vote.estimators]
    vote.named_estimators_ = Bunch()
    return vote


def _repeat_rows(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.iloc[np.arange(count) % len(rows)]


def list_unsafe_families(chosen: dict[str, FoldEnsemble]) -> list[str]:
    """The families among the delivered members that skops can't hold."""
    members = [m for one in list_delivered(chosen) for m in one.members]
    return sorted({m.family for m in members if not load_family(m.family).safe})


def list_trusted_types(plan: RunPlan) -> list[str]:
    """The types that the delivered model may hold beyond what skops knows."""
    of_families = (t for name in plan.scope.families for t in load_family(name).trusted)
    return sorted({*TRUSTED, *calibration.TRUSTED, *of_families})
