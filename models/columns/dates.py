"""Dates: calendar parts, or cycles where the family weighs numbers, and the date itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from models.columns.given import Part, PreparationInputs, finish_encoder
from models.fitting.family import Needs


def make_parts(inputs: PreparationInputs) -> Iterator[Part]:
    """For each date its calendar, and how far it lies from the others: seconds since 1970, which for all families is
    the age against the latest date of training, since trees cut numbers wherever they begin and others get them
    scaled."""
    for column in inputs.list_columns("date"):
        place = list(inputs.features.columns).index(column)
        yield (
            f"date_{place}",
            finish_encoder(_make_date_encoder(inputs.features[column], inputs.needs), inputs.needs),
            column,
        )


def _make_date_encoder(dates: pd.Series, needs: Needs) -> Any:
    """Year, month, day, hour and weekday; all but the year as sine and cosine for who weighs numbers, so that December
    lies beside January (benchmarks/columns.py measures what it gains)."""
    from skrub import DatetimeEncoder

    return DatetimeEncoder(
        resolution=_choose_resolution(dates),
        add_weekday=True,
        add_total_seconds=True,
        periodic_encoding="circular" if needs.scaled else None,
    )


def _choose_resolution(dates: pd.Series) -> str:
    """The finest part worth a column: minutes where all lies within two days. (Of dates without a clock skrub takes the
    day at most.)"""
    return "minute" if dates.max() - dates.min() < pd.Timedelta(days=2) else "hour"
