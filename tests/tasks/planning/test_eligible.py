"""A family that many classes make dear is tried on them only where it is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.config import Run
from models.families import load_family
from tasks.data import read_table
from tasks.planning.eligible import choose_families

MOST = int(load_family("hist_gradient_boosting").most_classes)


@pytest.mark.parametrize(("classes", "named", "tried"), [(MOST, (), 1), (MOST + 1, (), 0), (MOST + 1, (1,), 1)])
def test_histogram_boosting_meets_many_classes_only_by_name(classes, named, tried):
    rng = np.random.default_rng(0)
    labels = np.array([f"c{i}" for i in range(classes)])[np.arange(40 * classes) % classes]
    data = pd.DataFrame({"a": rng.normal(size=len(labels)), "b": rng.normal(size=len(labels)), "y": labels})
    search = {"families": ("hist_gradient_boosting",) if named else (), "trials": 2}
    run = Run(data=data, target="y", search=search)  # pyright: ignore[reportArgumentType]
    families, left_out = choose_families(read_table(run), run)
    assert ("hist_gradient_boosting" in [f.name for f in families]) == bool(tried)
    if not tried:
        assert f"has {classes} classes, and over {MOST}" in left_out["hist_gradient_boosting"]
