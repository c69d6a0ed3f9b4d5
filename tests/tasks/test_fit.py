"""What a worker hands to a family."""

from __future__ import annotations

import numpy as np

from models.columns import Prepared
from tasks.brief import Brief
from tasks.parts import part_of


def test_groups_and_targets_go_with_their_rows_and_those_to_stop_by_are_cut_off():
    row = np.arange(20)
    train = row[::2]
    brief = Brief("2x2", "regression", (), None, {}, {}, 1, 0, group=row * 10)
    prepared = Prepared(None, train[:, None].astype(float), ())
    for stop in (None, (train[[0, 2, 5]], train[[1, 3]])):
        part = part_of(prepared, train, row * 100, row * 1000, brief, stop)
        kept = train if stop is None else stop[0]
        assert part.group is not None
        assert part.weight is not None
        for values, times in ((part.X[:, 0], 1), (part.group, 10), (part.y, 100), (part.weight, 1000)):
            np.testing.assert_array_equal(values, kept * times)
