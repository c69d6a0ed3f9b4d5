"""What an event of drift says of where the rows are: to the letter, or nothing; and never a password."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from models.config import Retrain
from tasks.monitoring.prefect_events import NO_SOURCE
from tasks.retrain.data import offer_source

SECRETS = (
    "postgresql://me:hunter2@host/db", "db://h/d?password=hunter2", "mysql+pymysql://me@corp:hunter2@host/db",
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "query", "bound"),
    [
        ("new  rows.csv", None, {}),
        ("new-%Y-%m-%d.csv", None, {}),
        ("sklearn:iris", None, {}),
        ("env:LOANS", "select *\n  from x where d > :a and e = 'a, b'", {"a": "today-7d", "b": "x=y"}),
        ("secret:shop", "orders " * 500, {}),
        ("postgresql://me@host/db", "orders", {}),
    ],
)
def test_a_retraining_gets_what_the_watch_was_given(data, query, bound):
    found, why = offer_source(data, query, bound, labelled=True)
    assert why == ""
    asked = Retrain(name="m", data=found["data"], query=found["query"], bound=json.loads(found["bound"]))
    assert (asked.data, asked.query or None, asked.bound) == (data, query, bound)


@pytest.mark.parametrize("data", [*SECRETS, pd.DataFrame({"a": [1]}), "unlabelled.csv"])
def test_nothing_is_offered_that_can_not_be_trained_on_or_would_tell_a_password(data):
    found, why = offer_source(data, "t", {}, labelled=not (isinstance(data, str) and data.startswith("unlabelled")))
    assert found == NO_SOURCE
    assert why
    assert "hunter2" not in why


@pytest.mark.parametrize("hidden", SECRETS)
def test_a_password_in_the_query_is_one_too(hidden):
    assert offer_source("secret:shop", f"select dblink('{hidden}')", {}, labelled=True)[0] == NO_SOURCE
