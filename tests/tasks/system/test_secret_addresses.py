"""What logs and screens are spared: secrets of the environment, and nothing else."""

from __future__ import annotations

import pytest

from tasks.system.secret_addresses import hide_passwords

KEPT = "kAn4rY-kAn4rY"


@pytest.mark.parametrize(
    "name",
    ["PGPASSWORD", "DB_PASSWORD", "db_password", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN_2", "AWS_SECRET_ACCESS_KEY",
     "WANDB_API_KEY", "PREFECT_SERVER_API_AUTH_STRING", "SECRET"],
)  # fmt: skip
def test_what_a_variable_of_secrets_holds_is_not_shown(monkeypatch, name):
    monkeypatch.setenv(name, KEPT)
    assert hide_passwords(f"it said {KEPT}.") == "it said ***."


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENIZERS_PARALLELISM", "falsehood"), ("TOKENIZER", KEPT), ("SECRETARY", KEPT), ("USE_AUTH_STRINGS", KEPT),
     ("ASK_PASSWORD", "false"), ("NO_TOKEN", "true"), ("MAX_TOKEN", "1000000"), ("TOKEN_LIMIT", "12")],
)  # fmt: skip
def test_what_is_no_secret_is_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert hide_passwords(f"it said {value}.") == f"it said {value}."
