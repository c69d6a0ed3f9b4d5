"""Addresses as they are shown."""

from __future__ import annotations

import shlex

import pytest

from models.address import masked, pages


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "https://bob:***@tracking.example/mlflow"])
def test_a_server_is_looked_at_where_it_is(address):
    assert pages(masked(address)) == address


@pytest.mark.parametrize("address", ["sqlite:////a folder/mlflow.db", "postgresql://bob:***@db/mlflow"])
def test_what_shows_a_store_can_be_pasted_into_a_shell(address):
    assert shlex.split(pages(address)) == ["mlflow", "ui", "--backend-store-uri", address]
