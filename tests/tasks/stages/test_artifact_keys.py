"""Keys of what Prefect's page shows of a model: one for each model, in the signs that Prefect takes."""

from __future__ import annotations

import re

import pytest

from tasks.stages.artifacts import make_model_key

NAMES = ["loans", "a-b", "a_b", "A_B", "a b", "größe", "目标", "x" * 100, "x" * 99, "2024 week 1", "a.b", "a-b-"]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_one_that_prefect_takes(name):
    assert re.fullmatch("[a-z0-9-]+", make_model_key("verdict", name))
    assert make_model_key("verdict", name).startswith("nestor-verdict-")


def test_no_two_models_share_a_key_and_plain_names_are_read_as_they_are():
    assert len({make_model_key("verdict", name) for name in NAMES}) == len(NAMES)
    assert make_model_key("verdict", "loans") == "nestor-verdict-loans"
