"""Later rows compared with what a version keeps of its training table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from models.data import hashes
from models.errors import NestorError
from models.evaluation.decision import apply_threshold
from models.evaluation.estimate import make_time_blocks
from models.metrics.metric import make_metric
from models.monitoring.drift import FEWEST, Drift, measure_drift, measure_performance_drift
from models.monitoring.table_profile import Performance, TableProfile, to_prediction_columns
from models.splitting.seal import COUNTED, PLAIN, make_row_keys, number_repeats
from tasks.data import read_with
from tasks.data.roles import encode_groups, read_ids, read_times, read_weights
from tasks.registry.load import LoadedVersion
from tasks.scoring import forecast, labels
from tasks.scoring.champion import predict_for_metric

CHUNK = 50_000
"""Rows that are predicted at once."""


@dataclass(frozen=True)
class LaterRows:
    """Later rows, read as the training table was."""

    features: pd.DataFrame
    others: pd.DataFrame
    """The target, weight, group, time and id columns that the table has, as they came."""
    notes: tuple[str, ...] = ()
    """What was read otherwise than it was written, and what was never seen."""

    @property
    def digest(self) -> str:
        """Of the features' content."""
        return hashlib.sha256(hashes.hash_rows(self.features).tobytes()).hexdigest()[:32]


def read_later_rows(loaded: LoadedVersion, data: Any) -> LaterRows:
    """The rows of a path or a DataFrame; InputError where a column is missing, a value does not fit, or most levels are
    known ones that are written otherwise."""
    performance = read_profile(loaded).performance
    names = [
        loaded.facts["target"],
        *((performance.weight, performance.group, performance.time) if performance else ()),
        *_list_key_columns(loaded),
    ]
    speller = loaded.make_speller()
    parts = read_with(loaded.reading, data, list(dict.fromkeys(n for n in names if n)), speller)
    return LaterRows(*parts, tuple(speller.notes))


def _find_units(profile: TableProfile, rows: LaterRows) -> np.ndarray | None:
    """Which group or point each row is a part of, where the version was trained on such; None where that can't be
    told, or each row is an observation of its own."""
    group = profile.performance.group if profile.performance else None
    if profile.unit == "group" and group in rows.others:
        return encode_groups(rows.others[group])
    return make_row_keys(rows.features) if profile.unit == "point" else None


def has_labels(loaded: LoadedVersion, rows: LaterRows) -> bool:
    """Whether the rows have the target that the version was trained on."""
    target = rows.others.get(loaded.facts["target"])
    return target is not None and bool(target.notna().any())


def read_profile(loaded: LoadedVersion) -> TableProfile:
    """The version's profile; NestorError where it has none."""
    if loaded.profile is None:
        label = f"{loaded.name}/{loaded.version}"
        raise NestorError(f"{label} keeps no profile of its training table: an older Nestor made it. Train it again.")
    return TableProfile.from_json(loaded.profile)


def compare_with_profile(loaded: LoadedVersion, data: Any, level: float = 0.01, psi: float = 0.1) -> Drift:
    """The rows (a path, a DataFrame, or `TableRows`) against the version's profile: every column, the predictions, and
    where rows have labels the score. `loaded` holds the tested model, of which the profile speaks.

    Of rows that the model was trained on, predictions and score would tell nothing: it is too sure of them."""
    profile, rows = read_profile(loaded), data if isinstance(data, LaterRows) else read_later_rows(loaded, data)
    mask = mark_trained_rows(loaded, rows, profile.rows)
    features, has_history = forecast.add_history(loaded, rows.features, rows.others.get(loaded.facts["target"]))
    indices = np.flatnonzero(~mask & has_history)
    odds = predict_later_rows(loaded, features.iloc[indices])
    predictions = to_prediction_columns(odds, loaded.facts["classes"]) if len(indices) >= FEWEST else None
    units = _find_units(profile, rows)
    sample_units = None if units is None else units[indices]
    drift = measure_drift(profile, rows.features, predictions, level, psi, units, sample_units)
    drift = replace(drift, notes=(*drift.notes, *rows.notes))
    if mask.any():
        count = int(mask.sum())
        subject = "1 of these rows was" if count == 1 else f"{count:,} of these rows were"
        note = f"{subject} trained on, so predictions and scores are told of the others alone."
        drift = replace(drift, notes=(*drift.notes, note))
    if not has_history.all():
        note = f"{int((~has_history).sum()):,} rows have no history here: nothing is predicted for them."
        drift = replace(drift, notes=(*drift.notes, note))
    if profile.performance is None or loaded.facts["target"] not in rows.others:
        return drift
    others = rows.others.iloc[indices].reset_index(drop=True)
    return _add_performance(drift, loaded, profile.performance, odds, others, sample_units)


def predict_later_rows(loaded: LoadedVersion, features: pd.DataFrame) -> np.ndarray:
    """Values, or a probability for each class of the version, chunk by chunk."""
    task, classes = loaded.facts["task"], loaded.facts["classes"]
    metric = make_metric(None, task, classes)
    parts = [
        predict_for_metric(loaded, features.iloc[start : start + CHUNK], metric, classes)
        for start in range(0, len(features), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(classes)) if classes else 0)


# --- Rows that the model knows ---------------------------------------------------------------------------------------


def mark_trained_rows(loaded: LoadedVersion, rows: LaterRows, trained: int) -> np.ndarray:
    """True where the model was trained on the row, or on its group; `trained`: how many rows that were. Nowhere where
    rows can't be told apart: the version or the table lacks what they are known by, or equal rows arise by chance."""
    parts, known_keys = _list_key_parts(loaded), loaded.row_keys.get("trained", np.empty(0, np.uint64))
    columns = [column for _, column in parts]
    source = rows.others if parts and parts[0][0] in ("group", "id") else rows.features
    by_chance = source is rows.features and 2 * int(loaded.row_keys.get("distinct", len(known_keys))) < trained
    if not parts or by_chance or not set(columns) <= set(source.columns) or source[columns].isna().all(axis=None):
        return np.zeros(len(rows.features), bool)
    is_plain = any(form == PLAIN for form, _ in parts)
    keys = (
        make_row_keys(source[columns], is_plain)
        if source is rows.features
        else make_row_keys(read_ids(source[columns]))
    )
    return np.isin(number_repeats(keys) if _counts_repeats(loaded) else keys, known_keys)


def _counts_repeats(loaded: LoadedVersion) -> bool:
    """Whether equal rows are told apart by their order."""
    return COUNTED in loaded.row_keys.get("made_of", ())


def _list_key_parts(loaded: LoadedVersion) -> list[tuple[str, str]]:
    """What row keys are made of: role or form, and column."""
    pairs = [str(part).partition(":") for part in loaded.row_keys.get("made_of", ()) if part != COUNTED]
    return [(form, column) for form, _, column in pairs]


def _list_key_columns(loaded: LoadedVersion) -> list[str]:
    """The group or id columns that row keys are made of."""
    return [column for form, column in _list_key_parts(loaded) if form in ("group", "id")]


# --- Rows with labels ------------------------------------------------------------------------------------------------


def _add_performance(
    drift: Drift,
    loaded: LoadedVersion,
    performance: Performance,
    odds: np.ndarray,
    others: pd.DataFrame,
    units: np.ndarray | None,
) -> Drift:
    """With the score on the rows whose label the model knows."""
    codes, note = labels.encode_labels(loaded, others[loaded.facts["target"]])
    indices = np.flatnonzero(np.isfinite(codes))
    notes = (*drift.notes, *([note] if note else []))
    if not len(indices):
        return replace(drift, notes=notes)
    rows = others.iloc[indices].reset_index(drop=True)
    weight = read_weights(rows[performance.weight], None) if performance.weight in rows else None
    metric = make_metric(performance.metric, loaded.facts["task"], loaded.facts["classes"], performance.costs)
    target = codes[indices] if metric.needs == "value" else codes[indices].astype(np.int64)
    bootstrap_units = _choose_bootstrap_units(rows, performance) if units is None else units[indices]
    change = measure_performance_drift(
        performance,
        metric,
        apply_threshold((target, odds[indices], weight), performance.threshold),
        bootstrap_units,
        drift.level,
    )
    if change is None:
        notes = (*notes, f"The {len(indices)} rows with labels give no score that could be compared.")
    return replace(drift, performance=change, notes=notes)


def _choose_bootstrap_units(rows: pd.DataFrame, performance: Performance) -> np.ndarray:
    """What the bootstrap draws where these are no groups or points of the training's kind: groups, blocks of time, else
    rows."""
    if performance.group in rows:
        return encode_groups(rows[performance.group])
    if performance.time in rows:
        return make_time_blocks(read_times(rows[performance.time], None, None))
    return np.arange(len(rows))
