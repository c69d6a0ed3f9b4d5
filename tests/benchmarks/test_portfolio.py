"""What is learned of other tables is of the same configurations on all of them, or nothing is learned."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.portfolio import _read_regrets
from benchmarks.search.problem import INNER
from models.errors import InputError


def written(folder, table, rates, share=None):
    """A table's file: the scores of these learning rates."""
    rows = [
        {"number": n, "learning_rate": rate, **({"selected": share} if share else {}),
         **{f"score_{i}": 0.5 + 0.1 * n for i in range(INNER)}, **{f"seconds_{i}": 1.0 for i in range(INNER)}}
        for n, rate in enumerate(rates)
    ]  # fmt: skip
    shape = {"rows": 500, "columns": 9, "task": "binary", "classes": 2}
    problem = {"family": "lightgbm", "table": table, "metric": "roc_auc", "classes": 2, "shape": shape}
    told = pa.Table.from_pylist(rows).replace_schema_metadata({"problem": json.dumps(problem)})
    pq.write_table(told, folder / f"lightgbm-{table}.parquet")


def test_the_same_configurations_of_all_tables_are_read_with_what_only_some_tables_ask(tmp_path):
    written(tmp_path, "one", (0.1, 0.05))
    written(tmp_path, "two", (0.1, 0.05), share=0.5)
    tables, matrix = _read_regrets(tmp_path)
    assert set(tables) == {"one", "two"}
    assert [dict(one.params) for one in matrix["lightgbm"]] == [
        {"learning_rate": rate, "selected": 0.5} for rate in (0.1, 0.05)
    ]


def test_different_configurations_of_one_number_are_not_taken_for_one(tmp_path):
    written(tmp_path, "one", (0.1, 0.05))
    written(tmp_path, "two", (0.1, 0.02))
    with pytest.raises(InputError, match=r"Configuration 1 of lightgbm has learning_rate 0\.05 .* two 0\.02.*--same"):
        _read_regrets(tmp_path)
