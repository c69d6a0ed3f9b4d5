"""The score flow over a real Prefect server: called as a function, and with the plain parameters of a deployment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.config import Score
from models.errors import InputError
from tests.commands import serve_folder
from tests.runs import wait_for
from tests.versions import Registry, make_digits


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Path]:
    """The folder of a registry with the model `digits`, new rows of two days, and a Prefect server."""
    folder, before = tmp_path_factory.mktemp("home"), Path.cwd()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    os.chdir(folder)
    registry = Registry(folder)
    registry.train("digits", make_digits(slice(0, 600)))
    os.environ["MLFLOW_TRACKING_URI"] = registry.address
    for day, rows in (("2024-05-01", 100), ("2024-05-02", 200)):
        make_digits(slice(600, 600 + rows)).drop(columns="target").to_csv(f"new-{day}.csv", index=False)
    try:
        with serve_folder(folder):
            yield folder
    finally:
        os.chdir(before)
        os.environ.pop("MLFLOW_TRACKING_URI")
        os.environ.update({"MLFLOW_TRACKING_URI": uri} if uri else {})


def scored(given: Any) -> Any:
    from flows.score import score

    return score(given)


def shown() -> list[Any]:
    """The artifacts, newest first."""
    from flows.server.called import use_server

    with use_server():
        from prefect import get_client
        from prefect.client.schemas.sorting import ArtifactSort

        with get_client(sync_client=True) as client:
            return client.read_artifacts(sort=ArtifactSort.CREATED_DESC)


def test_as_a_function_it_writes_and_tells(home):
    done = scored(Score(model="digits", data="new-2024-05-01.csv", out="out.parquet", chunk=30))
    assert (done.rows, done.version, len(pd.read_parquet("out.parquet"))) == (100, 1, 100)
    artifact = shown()[0]
    assert artifact.key == "nestor-scored-digits"
    for said in ("| rows | 100 |", "digits, version 1", "new-2024-05-01.csv", "out.parquet"):
        assert said in artifact.data


def test_a_deployments_plain_parameters_do(home):
    """As a schedule has them: names of files by the day, everything as JSON."""
    done = scored({"model": "digits@champion", "data": "new-%Y-%m-%d.csv", "out": "out-%Y-%m-%d.csv", "chunk": 64})
    assert done.data.endswith("new-2024-05-02.csv")
    assert done.out == datetime.now().strftime("out-%Y-%m-%d.csv")
    assert len(pd.read_csv(done.out)) == done.rows == 200


def test_what_is_wrong_with_the_input_is_told_and_not_tried_again(home):
    with pytest.raises(InputError, match=r"No model 'digit'\. Did you mean digits"):
        scored({"model": "digit", "data": "new-2024-05-01.csv", "out": "no.csv"})
    from flows.server.called import use_server

    with use_server():
        from prefect import get_client

        with get_client(sync_client=True) as client:
            # the server's recorder writes task runs down a moment later
            failed = wait_for(lambda: [r for r in client.read_task_runs() if r.state and r.state.is_failed()], 20)
    assert [r.run_count for r in failed] == [1]
    assert not Path("no.csv").exists()
