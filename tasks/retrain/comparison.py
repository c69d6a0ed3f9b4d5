"""Two versions on the sealed rows of a run: which of the rows neither was trained on, what each predicts for them, and
what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.config import Gate
from models.data.labels import to_label_text
from models.errors import join_names, make_unknown_error
from models.evaluation.gate import ModelCost, Unit, Verdict, decide_promotion, explain_too_few, make_undecided_verdict
from models.metrics.metric import Metric, make_metric
from models.splitting.seal import make_row_keys, to_key_form
from tasks.execution.costs import measure_model_latency
from tasks.registry.load import LoadedVersion
from tasks.run.folder import Workdir
from tasks.scoring.champion import predict_for_metric


@dataclass(frozen=True, eq=False)
class SealedRows:
    """The sealed rows of a run, as its folder holds them."""

    features: pd.DataFrame
    target: np.ndarray
    keys: np.ndarray
    units: np.ndarray
    """What a bootstrap draws."""
    unit: Unit
    made_of: frozenset[str]
    """The columns that keys are made of, each with its form."""
    forms: frozenset[str]
    """The features, each with its form."""
    identity: Mapping[str, Any]
    """What makes these the same sealed rows as another run's: salt, key columns, target."""
    weight: np.ndarray | None
    run: Mapping[str, Any]
    """The settings of the run."""
    fresh: np.ndarray | None = None
    """True where no earlier version of the name had the row sealed; None where nobody has looked."""

    def take(self, mask: np.ndarray) -> SealedRows:
        """Those rows where `mask` is true."""
        weight, fresh = (None if part is None else part[mask] for part in (self.weight, self.fresh))
        return replace(
            self, features=self.features[mask].reset_index(drop=True), target=self.target[mask], keys=self.keys[mask],
            units=self.units[mask], weight=weight, fresh=fresh,
        )  # fmt: skip

    @property
    def distinct(self) -> int:
        """How many units there are."""
        return len(np.unique(self.units))

    def make_metric_of(self, task: Any, classes: Sequence[Any]) -> Metric:
        """What the run was judged by."""
        return make_metric(self.run["metric"], task, classes, self.run.get("costs"))


def read_sealed_rows(path: Path) -> SealedRows | None:
    """The sealed rows in a run's folder; None where it sealed none."""
    workdir = Workdir(path)
    facts, run = workdir.read_json("sealed.json"), workdir.read_json("run.json")
    if facts is None:
        return None
    target, keys, units = (np.asarray(workdir.read_array(f"sealed_{part}")) for part in ("target", "row_keys", "units"))
    weight = workdir.read_array("sealed_weight")
    return SealedRows(
        workdir.read_frame("sealed"), target, keys, units, facts["unit"], frozenset(facts["made_of"]),
        frozenset(facts.get("forms", facts["made_of"])), facts["identity"],
        None if weight is None else np.asarray(weight), run["run"],
    )  # fmt: skip


def compare(
    champion: LoadedVersion,
    challenger: LoadedVersion,
    rows: SealedRows,
    gate: Gate,
    sizes: tuple[float, float],
    look: int,
) -> Verdict:
    """The verdict on two tested twins over those of the sealed rows that neither was trained on. `sizes` are their
    megabytes on disk, `look` says how many challengers this champion has met."""
    reason = _explain_incomparable(champion, challenger)
    if reason:
        return make_undecided_verdict(gate, reason)
    masks = [mark_known_rows(version.row_keys, rows, "trained") for version in (champion, challenger)]
    if masks[0] is None or masks[1] is None:
        gap = "which of today's sealed rows the champion was trained on: rows were known by other columns then"
        return make_undecided_verdict(gate, f"It can't be told {gap}.")
    rest = rows.take(~(masks[0] | masks[1]))
    shortfall = len(rest.keys) < len(rows.keys)
    notes = [f"{len(rest.keys):,} of {len(rows.keys):,} sealed rows remain: the others were trained on."] * shortfall
    notes += _describe_label_differences(champion, challenger)
    metric = rows.make_metric_of(challenger.facts["task"], challenger.facts["classes"])
    costs = tuple(
        ModelCost(measure_model_latency(version.model, rows.features[version.columns]), size)
        for version, size in zip((champion, challenger), sizes, strict=True)
    )
    reason = explain_too_few(len(rest.keys), rest.distinct, rest.unit)
    if reason:
        return make_undecided_verdict(
            gate, reason, metric=metric.name, rows=len(rest.keys), units=rest.distinct, unit=rest.unit,
            champion_cost=costs[0], challenger_cost=costs[1], notes=tuple(notes),
        )  # fmt: skip
    classes = challenger.facts["classes"]
    first, second = (predict_for_metric(loaded, rest.features, metric, classes) for loaded in (champion, challenger))
    verdict = decide_promotion(
        metric, rest.target, first, second, rest.units, gate, unit=rest.unit, weight=rest.weight, seed=rows.run["seed"],
        subgroup=_make_subgroup_levels(rest.features, gate), costs=(costs[0], costs[1]), look=look, fresh=rest.fresh,
    )  # fmt: skip
    return replace(verdict, notes=tuple(notes))


def mark_known_rows(row_keys: Mapping[str, np.ndarray], rows: SealedRows, part: str) -> np.ndarray | None:
    """True where a sealed row's key is in that part of a version's row keys; None where that can't be told: rows were
    known then by columns that today's table lacks or reads otherwise, or by other ids or groups."""
    if part not in row_keys or "made_of" not in row_keys:
        return None
    forms = frozenset(row_keys["made_of"].tolist())
    if forms == rows.made_of:
        return np.isin(rows.keys, row_keys[part])
    if not forms <= rows.forms:
        return None
    columns = [column.partition(":")[2] for column in forms]
    return np.isin(make_row_keys(rows.features[columns]), row_keys[part])


def _explain_incomparable(champion: LoadedVersion, challenger: LoadedVersion) -> str:
    """Why the two can't be compared on one table; empty where they can."""
    ours, theirs = champion.facts, challenger.facts
    if ours["task"] != theirs["task"] and "regression" in (ours["task"], theirs["task"]):
        return f"The champion's task is {ours['task']}, the challenger's {theirs['task']}."
    gaps = [c for c in champion.columns if c not in challenger.columns]
    if gaps:
        return f"Today's table lacks columns that the champion needs: {join_names(gaps)}."
    changes = [c for c in champion.columns if to_key_form(ours["kinds"][c]) != to_key_form(theirs["kinds"][c])]
    if changes:
        listing = join_names([f"{c} (was {ours['kinds'][c]}, is {theirs['kinds'][c]})" for c in changes], 8, 80)
        return f"Columns are of another kind than the champion knows: {listing}."
    labels = {to_label_text(c) for c in ours["classes"]} & {to_label_text(c) for c in theirs["classes"]}
    if theirs["classes"] and len(labels) < 2:
        return (
            f"The champion knows the labels {join_names(ours['classes'], 4)}, today's are "
            f"{join_names(theirs['classes'], 4)}."
        )
    return ""


def _describe_label_differences(champion: LoadedVersion, challenger: LoadedVersion) -> list[str]:
    ours, theirs = ({to_label_text(c): c for c in version.facts["classes"]} for version in (champion, challenger))
    new, gone = [c for t, c in theirs.items() if t not in ours], [c for t, c in ours.items() if t not in theirs]
    sentences = [f"The champion does not know the labels {join_names(new)}."] if new else []
    return sentences + [f"None of today's rows has the labels {join_names(gone)}, which the champion knows."] * bool(
        gone
    )


def _make_subgroup_levels(features: pd.DataFrame, gate: Gate) -> np.ndarray | None:
    """The level of each row; numbers of more than ten values count by fifths."""
    if gate.subgroup is None:
        return None
    if gate.subgroup not in features.columns:
        raise make_unknown_error("feature for gate.subgroup", gate.subgroup, features.columns)
    column = features[gate.subgroup]
    if column.nunique() > 10 and (column.dtype.kind == "f" or column.dtype.kind == "M"):
        column = pd.qcut(column, 5, duplicates="drop").astype("str")
    return column.to_numpy(object)
