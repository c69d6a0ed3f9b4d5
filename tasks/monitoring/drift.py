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
from tasks.scoring.champion import predict_for_metric as said_by

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
    then = read_profile(loaded).performance
    names = [
        loaded.facts["target"],
        *((then.weight, then.group, then.time) if then else ()),
        *_list_key_columns(loaded),
    ]
    speller = loaded.speller()
    read = read_with(loaded.reading, data, list(dict.fromkeys(n for n in names if n)), speller)
    return LaterRows(*read, tuple(speller.notes))


def _find_units(then: TableProfile, rows: LaterRows) -> np.ndarray | None:
    """Which group or point each row is a part of, where the version was trained on such; None where that can't be
    told, or each row is an observation of its own."""
    group = then.performance.group if then.performance else None
    if then.unit == "group" and group in rows.others:
        return encode_groups(rows.others[group])
    return make_row_keys(rows.features) if then.unit == "point" else None


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
    then, rows = read_profile(loaded), data if isinstance(data, LaterRows) else read_later_rows(loaded, data)
    known = mark_trained_rows(loaded, rows, then.rows)
    full, seen = forecast.add_history(loaded, rows.features, rows.others.get(loaded.facts["target"]))
    fresh = np.flatnonzero(~known & seen)
    odds = predict_later_rows(loaded, full.iloc[fresh])
    said = to_prediction_columns(odds, loaded.facts["classes"]) if len(fresh) >= FEWEST else None
    units = _find_units(then, rows)
    own = None if units is None else units[fresh]
    found = measure_drift(then, rows.features, said, level, psi, units, own)
    found = replace(found, notes=(*found.notes, *rows.notes))
    if known.any():
        count = int(known.sum())
        told = "1 of these rows was" if count == 1 else f"{count:,} of these rows were"
        note = f"{told} trained on, so predictions and scores are told of the others alone."
        found = replace(found, notes=(*found.notes, note))
    if not seen.all():
        note = f"{int((~seen).sum()):,} rows have no history here: nothing is predicted for them."
        found = replace(found, notes=(*found.notes, note))
    if then.performance is None or loaded.facts["target"] not in rows.others:
        return found
    others = rows.others.iloc[fresh].reset_index(drop=True)
    return _add_performance(found, loaded, then.performance, odds, others, own)


def predict_later_rows(loaded: LoadedVersion, features: pd.DataFrame) -> np.ndarray:
    """Values, or a probability for each class of the version, chunk by chunk."""
    task, classes = loaded.facts["task"], loaded.facts["classes"]
    usual = make_metric(None, task, classes)
    parts = [said_by(loaded, features.iloc[at : at + CHUNK], usual, classes) for at in range(0, len(features), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, len(classes)) if classes else 0)


# --- Rows that the model knows ---------------------------------------------------------------------------------------


def mark_trained_rows(loaded: LoadedVersion, rows: LaterRows, trained: int) -> np.ndarray:
    """True where the model was trained on the row, or on its group; `trained`: how many rows that were. Nowhere where
    rows can't be told apart: the version or the table lacks what they are known by, or equal rows arise by chance."""
    made_of, known = _list_key_parts(loaded), loaded.row_keys.get("trained", np.empty(0, np.uint64))
    own = [column for _, column in made_of]
    source = rows.others if made_of and made_of[0][0] in ("group", "id") else rows.features
    by_chance = source is rows.features and 2 * int(loaded.row_keys.get("distinct", len(known))) < trained
    if not made_of or by_chance or not set(own) <= set(source.columns) or source[own].isna().all(axis=None):
        return np.zeros(len(rows.features), bool)
    plain = any(form == PLAIN for form, _ in made_of)
    hashed = make_row_keys(source[own], plain) if source is rows.features else make_row_keys(read_ids(source[own]))
    return np.isin(number_repeats(hashed) if _counts_repeats(loaded) else hashed, known)


def _counts_repeats(loaded: LoadedVersion) -> bool:
    """Whether equal rows are told apart by their order."""
    return COUNTED in loaded.row_keys.get("made_of", ())


def _list_key_parts(loaded: LoadedVersion) -> list[tuple[str, str]]:
    """What row keys are made of: role or form, and column."""
    pairs = [str(one).partition(":") for one in loaded.row_keys.get("made_of", ()) if one != COUNTED]
    return [(form, column) for form, _, column in pairs]


def _list_key_columns(loaded: LoadedVersion) -> list[str]:
    """The group or id columns that row keys are made of."""
    return [column for form, column in _list_key_parts(loaded) if form in ("group", "id")]


# --- Rows with labels ------------------------------------------------------------------------------------------------


def _add_performance(
    found: Drift,
    loaded: LoadedVersion,
    then: Performance,
    odds: np.ndarray,
    others: pd.DataFrame,
    units: np.ndarray | None,
) -> Drift:
    """With the score on the rows whose label the model knows."""
    codes, note = labels.encode_labels(loaded, others[loaded.facts["target"]])
    kept = np.flatnonzero(np.isfinite(codes))
    notes = (*found.notes, *([note] if note else []))
    if not len(kept):
        return replace(found, notes=notes)
    later = others.iloc[kept].reset_index(drop=True)
    weight = read_weights(later[then.weight], None) if then.weight in later else None
    metric = make_metric(then.metric, loaded.facts["task"], loaded.facts["classes"], then.costs)
    target = codes[kept] if metric.needs == "value" else codes[kept].astype(np.int64)
    drawn = _choose_bootstrap_units(later, then) if units is None else units[kept]
    said = measure_performance_drift(
        then, metric, apply_threshold((target, odds[kept], weight), then.threshold), drawn, found.level
    )
    if said is None:
        notes = (*notes, f"The {len(kept)} rows with labels give no score that could be compared.")
    return replace(found, performance=said, notes=notes)


def _choose_bootstrap_units(rows: pd.DataFrame, then: Performance) -> np.ndarray:
    """What the bootstrap draws where these are no groups or points of the training's kind: groups, blocks of time, else
    rows."""
    if then.group in rows:
        return encode_groups(rows[then.group])
    if then.time in rows:
        return make_time_blocks(read_times(rows[then.time], None, None))
    return np.arange(len(rows))
