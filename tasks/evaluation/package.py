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
    ensembles = evaluation.chosen
    voters = collect_voters(evaluation, list_delivered(ensembles))
    if not voters:
        raise _explain_unlearned(evaluation, list_delivered(ensembles))
    threshold = find_plain_threshold(evaluation.metric) if evaluation.threshold is None else evaluation.threshold
    if ALL not in ensembles or not evaluation.joins_sealed:
        return build_model(evaluation.work_rows, voters, threshold), None
    ensemble = ensembles[ALL]
    if not _refit_with_sealed(evaluation, ensemble.members):
        evaluation.context.note(
            "The last fit, with the sealed rows too, did not finish: the tested model is delivered as it is."
        )
        return build_model(evaluation.work_rows, voters, threshold), None
    return build_model(
        evaluation.work_rows, collect_voters(evaluation, [ensemble], with_sealed=True), threshold
    ), build_model(evaluation.work_rows, voters, threshold)


def _refit_with_sealed(studies: Studies, members: Sequence[EnsembleMember]) -> bool:
    """Whether every member could be fitted once more with the sealed rows, all of them side by side."""

    def again(member: EnsembleMember) -> bool:
        trial = studies.trials[member.family, ALL][member.trial]
        return refit(studies, member.family, ALL, trial, with_sealed=True) is not None

    with ThreadPoolExecutor(len(members)) as threads:
        return all(threads.map(again, members))


def _explain_unlearned(plan: RunPlan, ensembles: Sequence[FoldEnsemble]) -> NestorError:
    """Which classes the members lack, where the search that would have seen them all came to nothing."""
    fold_codes = [np.unique(plan.work_rows.target[plan.folds[ensemble.fold].train]) for ensemble in ensembles]
    labels = [
        label for code, label in enumerate(plan.work_rows.classes) if not all(code in codes for codes in fold_codes)
    ]
    reason = (
        "The search on all work rows found no model, and the training rows of every fold lack at least one of these "
        f"targets: {join_names(labels)}. So none can be delivered."
    )
    advice = " Go on with --resume and more time: --budget."
    return NestorError(reason if plan.context.ledger.limit is None else reason + advice)


def collect_voters(plan: RunPlan, ensembles: Sequence[FoldEnsemble], with_sealed: bool = False) -> Voters:
    """Every member with its share: equal for folds, by weight within. A fold that is calibrated votes as one."""
    voters = []
    for ensemble in ensembles:
        members = _collect_members(plan, ensemble, with_sealed)
        if members and ensemble.finish.calibration is not None:
            classifier = calibrate_classifier(_build_vote(plan.work_rows, members), ensemble.finish.calibration)
            members = [(f"calibrated_{ensemble.fold}_{len(members)}", classifier, 1.0)]
        voters += [(name, model, share / len(ensembles)) for name, model, share in members]
    return voters


def _collect_members(plan: RunPlan, ensemble: FoldEnsemble, with_sealed: bool) -> Voters:
    """The fold's members; those that lack a class are left out with a word."""
    voters = []
    files = list_refits(plan, ensemble, with_sealed=with_sealed)
    for member, (file, share) in zip(ensemble.members, files, strict=True):
        pipeline, classes = plan.context.folder.read_pickle(file)
        if plan.work_rows.classes and len(classes) < len(plan.work_rows.classes):
            plan.context.note(
                f"A model of fold {ensemble.fold} does not know all classes: it was judged, and is not delivered."
            )
            continue
        voters.append((f"{member.family}_{ensemble.fold}_{member.trial}", pipeline, share))
    return voters


def build_model(table: Table, voters: Voters, threshold: float = 0.5) -> Any:
    """One fitted object: a vote over frozen pipelines; in regression a single pipeline stays as it is. With two classes
    the second is said from the threshold on."""
    if table.task == "regression" and len(voters) == 1:
        return voters[0][1]
    vote = _build_vote(table, voters, table.classes)
    if table.task != "binary" or threshold == 0.5:
        return vote
    # Fitting it would check labels and nothing else: the vote stands in its place as it is, and is written once.
    model = FixedThresholdClassifier(DummyClassifier(), response_method="predict_proba").set_params(threshold=threshold)
    model.estimator_ = vote
    return model


def _build_vote(table: Table, voters: Voters, labels: Sequence[Any] = ()) -> Any:
    """The voters' weighted mean; without labels one that speaks the codes that the members know."""
    estimators = [(name, FrozenEstimator(pipeline)) for name, pipeline, _ in voters]
    total = sum(w for *_, w in voters)
    weights = [w / total for *_, w in voters]
    rows = table.features.head(max(1, len(table.classes)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if table.task == "regression":
            return _slim_vote(VotingRegressor(estimators, weights=weights).fit(rows, np.zeros(len(rows))))
        classes = np.array(labels) if len(labels) else np.arange(len(table.classes))
        vote = VotingClassifier(estimators, voting="soft", weights=weights).fit(
            _repeat_rows(rows, len(classes)), classes
        )
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


def list_unsafe_families(ensembles: dict[str, FoldEnsemble]) -> list[str]:
    """The families among the delivered members that skops can't hold."""
    members = [m for ensemble in list_delivered(ensembles) for m in ensemble.members]
    return sorted({m.family for m in members if not load_family(m.family).safe})


def list_trusted_types(plan: RunPlan) -> list[str]:
    """The types that the delivered model may hold beyond what skops knows."""
    types = (t for name in plan.scope.families for t in load_family(name).trusted)
    return sorted({*TRUSTED, *calibration.TRUSTED, *types})
