"""`nestor promote`, `nestor rollback` and the history below `nestor runs NAME`."""

import json
import logging
import sys

import pytest

from flows import cli
from tasks.tracking.store import connect_store
from tests.versions import Registry, make_digits


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Three versions of `digits`, the first of them champion, the third the challenger."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    for _ in range(3):
        registry.train("digits", make_digits(slice(0, 400)))
    return registry


@pytest.fixture
def nestor(registry, tmp_path, monkeypatch, capfd):
    """`nestor(*arguments)`: exit code, standard output, standard error. Afterwards version 1 is champion again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.address)
    handlers = logging.getLogger().handlers

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["nestor", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capfd.readouterr()

    yield call
    logging.getLogger().handlers = handlers
    logging.captureWarnings(False)
    client = connect_store(registry.address)
    for tag in client.get_registered_model("digits").tags:
        if tag > "nestor.move.0001":
            client.delete_registered_model_tag("digits", tag)
    client.set_registered_model_alias("digits", "champion", "1")
    client.set_registered_model_alias("digits", "challenger", "3")


def test_a_person_promotes_rolls_back_and_sees_who_was_champion(nestor):
    code, out, _ = nestor("promote", "digits", "--why", "it is newer")
    assert (code, out) == (0, "Version 3 is the champion of digits now; it was version 1.\n")
    code, out, _ = nestor("promote", "digits/2", "--json")
    move = json.loads(out)
    assert (code, move["kind"], move["how"], move["from"], move["to"], move["why"]) == (
        0,
        "promote",
        "manual",
        3,
        2,
        "",
    )
    code, out, _ = nestor("rollback", "digits", "--why", "slow")
    assert (code, out) == (0, "Version 3 is the champion of digits again; it was version 2.\n")

    code, out, _ = nestor("runs", "digits")
    assert code == 0
    below = out.split("champions, newest first")[1]
    newest, *_, first = [line for line in below.splitlines() if line.strip()][2:]
    assert "rollback" in newest
    assert "slow" in newest
    assert "first" in first
    assert "it is newer" in below

    code, out, _ = nestor("runs", "digits", "--json")
    whole = json.loads(out)
    assert [(m["kind"], m["from"], m["to"]) for m in whole["moves"]] == [
        ("rollback", 2, 3), ("promote", 3, 2), ("promote", 1, 3), ("first", None, 1),
    ]  # fmt: skip
    assert all(move["who"] and move["when"] > 1e9 for move in whole["moves"])
    assert {run["version"]: run["alias"] for run in whole["runs"]} == {1: None, 2: "challenger", 3: "champion"}


def test_all_runs_are_a_list_as_ever(nestor):
    code, out, _ = nestor("runs", "--json")
    assert code == 0
    assert {run["name"] for run in json.loads(out)} == {"digits"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("promote", "digits/1"), "digits/1 is the champion already."),
        (("promote", "digits/9"), "No version of digits '9'. Known: 3, 2, 1."),
        (("promote", "digits/new"), "named NAME or NAME/VERSION, not 'digits/new'"),
        (("promote", "digits@challenger"), "named NAME or NAME/VERSION, not 'digits@challenger'"),
        (("promote", "digit"), "No model 'digit'. Did you mean digits?"),
        (("rollback", "digits"), "digits has no earlier champion to go back to."),
        (("rollback", "digit"), "No model 'digit'. Did you mean digits?"),
    ],
)
def test_a_mistake_is_told_and_moves_nothing(nestor, registry, arguments, says):
    code, out, err = nestor(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert connect_store(registry.address).get_registered_model("digits").aliases == {"champion": 1, "challenger": 3}


def test_what_is_not_what_was_registered_is_refused(nestor, registry):
    client = connect_store(registry.address)
    digest = client.get_model_version("digits", "2").tags["nestor.digest"]
    client.set_model_version_tag("digits", "2", "nestor.digest", "0" * 64)
    code, _, err = nestor("promote", "digits/2")
    client.set_model_version_tag("digits", "2", "nestor.digest", digest)
    assert code == 1
    assert "not those that were registered" in err
    assert client.get_registered_model("digits").aliases["champion"] in (1, "1")
