"""Numbers, booleans and ordered categories: what may stay the number it is, and comes first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from models.columns.given import Part, PreparationInputs, make_imputers, make_level_imputers, make_scalers
from models.fitting.family import Needs


def list_plain_columns(inputs: PreparationInputs) -> tuple[str, ...]:
    """The columns that stay one number each; in this order they are the first columns of what is prepared."""
    return *inputs.list_columns("ordered", "past"), *_list_number_columns(inputs)


def _list_number_columns(inputs: PreparationInputs) -> list[str]:
    """A key is beside its target mean a number too, for families that cut numbers and do not weigh them."""
    return [
        *inputs.list_columns("number", "boolean"),
        *(inputs.list_many_levels("key") if inputs.needs.categories == "codes" else []),
    ]


def make_parts(inputs: PreparationInputs) -> Iterator[Part]:
    """Ordered categories as their places in the order, numbers without outliers where the family asks for scale."""
    ordered, past, numbers = inputs.list_columns("ordered"), inputs.list_columns("past"), _list_number_columns(inputs)
    if ordered:
        yield "ordered", _make_order_encoder([list(inputs.orders[c]) for c in ordered], inputs.needs), ordered
    if past:
        # What the target was is on the target's own scale, and stays in line with it: nothing is clipped.
        steps = [*make_imputers(inputs.needs), *make_scalers(inputs.needs)]
        yield "past", make_pipeline(*steps) if steps else "passthrough", past
    if numbers:
        yield "numbers", _make_number_scaler(inputs.needs), numbers


def _make_order_encoder(orders: list[list[str]], needs: Needs) -> Any:
    """0, 1, 2, ... in the order; a level that is not in it is missing."""
    encoder = OrdinalEncoder(
        categories=orders,  # pyright: ignore[reportArgumentType]
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    return make_pipeline(*make_level_imputers(), encoder, *make_imputers(needs), *make_scalers(needs))


def _make_number_scaler(needs: Needs) -> Any:
    """Robustly scaled and softly clipped, then mean 0 and variance 1: skewed columns and outliers harm neither a linear
    model nor a network (Holzmüller et al. 2024, arXiv:2407.04491; benchmarks/columns.py measures what it gains)."""
    if needs.missing and not needs.scaled:
        return "passthrough"
    steps = make_imputers(needs, indicator=True)
    if needs.scaled:
        from skrub import SquashingScaler

        steps = [*steps, SquashingScaler()]
    return make_pipeline(*steps, *make_scalers(needs))
