"""Names of models: what is registered under one can be asked for by it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.config import Retrain, Run, Watch
from models.config.values import ModelName, to_model_name
from tasks.registry.load import _split_name

NAMES = TypeAdapter(ModelName)
BAD = ["", " ", "a@b", "a@champion", "a/b", "a:b", "a?b", "a%b", "a'b", 'a"b', "a\\b", ".a", "-a", " a", "a ", "a\n",
       "a\x07b", "a\x9bb", "a\u202eb", "a\u200bb", "x" * 101]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_could_not_be_asked_for_is_refused_at_once(name):
    for kind in (Run, Retrain, Watch):
        with pytest.raises(ValidationError, match="name"):
            kind(name=name, data="t.csv", **({"target": "y"} if kind is Run else {}))


@settings(deadline=None)
@given(st.text(st.sampled_from(string.printable + "éß中\u202e\x9b"), max_size=105))
def test_a_name_that_is_taken_can_be_asked_for(text):
    from mlflow.store.artifact.utils.models import _parse_model_uri

    try:
        name = NAMES.validate_python(text)
    except ValidationError:
        name = to_model_name(text)  # what a file would be called
        if not name:
            return
        assert NAMES.validate_python(name) == name
    assert _split_name(name) == (name, None, None)
    assert _split_name(f"{name}/3") == (name, None, "3")
    assert _split_name(f"{name}@champion") == (name, "champion", None)
    version, alias = (_parse_model_uri(f"models:/{name}{one}") for one in ("/3", "@champion"))
    assert (version.name, version.version) == (name, "3")
    assert (alias.name, alias.alias) == (name, "champion")
    assert name.isprintable()
    assert not name.startswith("-")
