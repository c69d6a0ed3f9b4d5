"""Columns on a grid: one number for each place, in order, whatever they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.errors import InputError
from tasks.data import read_table
from tasks.planning.checks import check_form


def picture(**others) -> pd.DataFrame:
    """2 x 2 pixels, the first of which is always dark."""
    draw = np.random.default_rng(0)
    pixels = {f"p{n}": draw.normal(size=60) * (n > 0) for n in range(4)}
    return pd.DataFrame({**pixels, **others, "y": [0, 1] * 30})


def test_a_constant_pixel_stays_where_it_is() -> None:
    frame = picture(colour=["red", "blue"] * 30)
    placed = check_form(read_table(Run(data=frame, target="y", grid="2x2")))
    loose = check_form(read_table(Run(data=frame, target="y")))
    assert list(placed.features) == ["p0", "p1", "p2", "p3", "colour"]
    assert list(loose.features) == ["p1", "p2", "p3", "colour"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (picture(z=np.arange(60) / 7), "The grid 2x2 has 4 places, and there are 5 columns of numbers"),
        (picture(z=True).drop(columns="p1"), "What is no number has no place on it: z \\(boolean\\)"),
    ],
)
def test_a_grid_that_the_numbers_do_not_fill_is_an_error(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_table(Run(data=frame, target="y", grid="2x2"))


def test_what_is_dropped_has_no_place() -> None:
    table = read_table(Run(data=picture(z=np.arange(60) / 7), target="y", grid="2x2", drop="z"))
    assert list(table.features) == ["p0", "p1", "p2", "p3"]
