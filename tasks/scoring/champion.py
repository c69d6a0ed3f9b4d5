"""What a version predicts, as a metric scores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.data.labels import align_probabilities, to_label_text
from models.metrics.metric import Metric
from tasks.registry.load import LoadedVersion
from tasks.scoring.predict import decide_labels


def predict_for_metric(
    loaded: LoadedVersion, features: pd.DataFrame, metric: Metric, classes: Sequence[Any]
) -> np.ndarray:
    """What the metric scores: values, codes into `classes`, or a probability for each of them.

    Labels are matched by what they say. To a label that the model does not know it gives next to nothing; what it gives
    to labels that are not in `classes` is shared out among those that are."""
    rows = features[loaded.columns].apply(loaded.make_speller().read)
    if metric.needs == "value":
        return np.asarray(loaded.model.predict(rows), float)
    places = {to_label_text(label): code for code, label in enumerate(classes)}
    codes = [places.get(to_label_text(label), -1) for label in loaded.model.classes_]
    odds = np.asarray(loaded.model.predict_proba(rows), float)
    probabilities = align_probabilities(odds, codes, len(classes))
    if metric.needs == "probability":
        return probabilities
    labels = decide_labels(loaded.model, rows, odds, loaded.facts.get("costs", ()))
    predictions = np.array([places.get(to_label_text(label), -1) for label in labels])
    return np.where(predictions >= 0, predictions, probabilities.argmax(axis=1))
