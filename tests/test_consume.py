"""The ways to consume a model, as docs/consume.md has them: over HTTP, without this project, checked, followed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from models.columns import prepare
from models.data.table import Table
from models.families import load_families
from tasks.registry.load import list_known_types
from tests.runs import KINDS, list_living, list_process_tree, make_frame, wait_for
from tests.versions import Registry

PAGE = (Path(__file__).parents[1] / "docs" / "consume.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", PAGE, re.S))
WITHOUT = "import sys\nfor name in ('flows', 'tasks', 'models'): sys.modules[name] = None\n"
"""Put first, the project can't be imported: the editable installation would have it."""


def table(rows: int = 500) -> pd.DataFrame:
    """A column of each kind; whether the colour is missing tells of the target, whether the town is tells nothing."""
    given = make_frame(rows).drop(columns=["weight", "group", "when"])
    missing = np.random.default_rng(1).random(rows) < 0.3
    return given.assign(colour=given["colour"].fillna("red").mask(missing), target=np.where(missing, "gone", "there"))


def linear(work: Table) -> Any:
    """What the linear family makes of the table."""
    needs = load_families()["linear"].needs
    columns = prepare(work.features, work.kinds, work.target, work.task, needs, 0).transformer
    return make_pipeline(columns, LogisticRegression(max_iter=500))


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    found = Registry(tmp_path_factory.mktemp("store"))
    found.train("loans", table(), linear, types=KINDS)
    return found


def surroundings(registry: Registry) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NESTOR_", "MLFLOW_", "PYTHONPATH"))}
    # MLflow starts `uvicorn` by its name, as in an environment that is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": registry.address, "MLFLOW_DISABLE_TELEMETRY": "true"}


def client(registry: Registry) -> Any:
    from tasks.tracking.store import connect_store

    return connect_store(registry.address)


def folder_of(registry: Registry, name: str, version: str) -> Path:
    return Path(client(registry).get_model_version_download_uri(name, version).removeprefix("file://"))


# --- Over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(registry: Registry, tmp_path_factory) -> Iterator[str]:
    """The address of a real `mlflow models serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-P", "-m", "mlflow", "models", "serve", "-m", "models:/loans@champion"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
            env=surroundings(registry), cwd=log.parent, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    whole: list[Any] = []
    try:
        assert wait_for(lambda: answers(port) or server.poll() is not None, 180), log.read_text()
        assert server.poll() is None, log.read_text()
        whole = list_process_tree(server.pid)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)
        wait_for(lambda: not list_living(whole), 20)
        assert not list_living(whole), "these outlived the server"


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def asked(address: str, **body: Any) -> tuple[int, Any]:
    """Status and answer."""
    data = json.dumps(body, default=str).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(rows.drop(columns="target").to_json(orient="records", date_format="iso"))


def own(registry: Registry, rows: pd.DataFrame) -> list[Any]:
    """What the model itself says of these rows."""
    from tasks.registry.load import load_version

    loaded = load_version("loans", registry.address)
    return list(loaded.model.predict(rows[loaded.columns]))


def test_a_table_as_records_and_split(served, registry):
    rows = table().head(40)
    split = json.loads(rows.drop(columns="target").to_json(orient="split", index=False, date_format="iso"))
    expected = own(registry, rows)
    assert len(set(expected)) == 2
    assert asked(served, dataframe_records=records(rows)) == (200, {"predictions": expected})
    assert asked(served, dataframe_split=split) == (200, {"predictions": expected})


def test_probabilities_are_asked_for_with_the_rows(served, registry):
    rows = table().head(10)
    asked_for = {"dataframe_records": records(rows), "params": {"predict_method": "predict_proba"}}
    status, answer = asked(served, **asked_for)
    found = pd.DataFrame(answer["predictions"])
    assert (status, list(found)) == (200, ["gone", "there"])
    assert list(found.idxmax(axis=1)) == own(registry, rows)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    status, answer = asked(served, **{**asked_for, "params": {"predict_method": "explain"}})
    assert (status, "this model knows predict and predict_proba" in answer["message"]) == (400, True)


def test_a_missing_category_in_a_single_row_is_missing(served):
    """It is no unseen level: here the one means the other class."""
    (row,) = records(table().dropna().head(1))
    assert asked(served, dataframe_records=[{**row, "colour": None}]) == (200, {"predictions": ["gone"]})
    assert asked(served, dataframe_records=[{**row, "colour": "mauve"}]) == (200, {"predictions": ["there"]})


def test_nothing_but_missing_values_is_answered(served):
    (row,) = records(table().head(1))
    assert asked(served, dataframe_records=[dict.fromkeys(row)])[0] == 200


def test_whole_numbers_for_fractions(served, registry):
    rows = table().dropna().head(3).assign(number=[1.0, 2.0, 3.0], flag=[1.0, 0.0, 1.0])
    whole = [{**r, "number": int(r["number"]), "flag": int(r["flag"])} for r in records(rows)]
    assert asked(served, dataframe_records=whole) == (200, {"predictions": own(registry, rows)})


def test_what_does_not_fit_is_answered_with_a_sentence(served):
    (row,) = records(table().dropna().head(1))
    status, answer = asked(served, dataframe_records=[{k: v for k, v in row.items() if k != "town"}])
    assert (status, "missing inputs ['town']" in answer["message"]) == (400, True)
    status, answer = asked(served, dataframe_records=[{**row, "day": "soon"}])
    assert (status, "Column 'day', row 1: 'soon' is no date" in answer["message"]) == (400, True)
    status, answer = asked(served, dataframe_records=[{**row, "day": 1706659200000}])
    assert (status, "is a number. Dates are text such as 2024-01-31" in answer["message"]) == (400, True)
    status, answer = asked(served, dataframe_records=[{**row, "number": "dear"}])
    assert (status, "Column 'number', row 1: 'dear' is no number" in answer["message"]) == (400, True)
    assert asked(served, dataframe_records=[{**row, "more": 1}])[0] == 200
    assert asked(served, dataframe_records=[row])[0] == 200


# --- Without this project --------------------------------------------------------------------------------------------


def alone(registry: Registry, code: str) -> subprocess.CompletedProcess[str]:
    """A Python that can't import anything of ours."""
    return subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT + code], env=surroundings(registry), cwd=registry.folder,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_load_model_and_the_lines_that_check_need_nothing_of_this_project(registry, tmp_path):
    rows = table().head(30).drop(columns="target")
    rows.to_parquet(tmp_path / "rows.parquet")
    code = BLOCKS["checked"] + (
        "import pandas as pd\n"
        f"rows = pd.read_parquet({str(tmp_path / 'rows.parquet')!r})\n"
        "version, model = checked('loans')\n"
        "plain = mlflow.pyfunc.load_model('models:/loans@champion')\n"
        "assert list(plain.predict(rows)) == list(model.predict(rows))\n"
        "print('said', version.version, ','.join(model.predict(rows)))\n"
    )
    done = alone(registry, code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"said 1 {','.join(own(registry, table().head(30)))}" in done.stdout


def test_the_types_in_the_docs_are_those_of_the_families():
    space: dict[str, Any] = {}
    exec(BLOCKS["checked"], space)
    assert space["TRUSTED"] == list_known_types()


@pytest.fixture
def lines(registry: Registry, monkeypatch) -> dict[str, Any]:
    """What the block defines, executed here."""
    import mlflow

    client(registry)
    monkeypatch.setattr(mlflow.MlflowClient, "__init__", _at(registry.address, mlflow.MlflowClient.__init__))
    space: dict[str, Any] = {"__name__": "docs"}
    exec(BLOCKS["checked"], space)
    return space


def _at(address: str, first: Callable[..., None]) -> Callable[..., None]:
    return lambda self, *args, **kwargs: first(self, *(args or (address,)), **kwargs)


def test_the_lines_refuse_what_was_tampered_with(registry, lines):
    registry.train("forged", table(300), linear, types=KINDS)
    assert int(lines["checked"]("forged")[0].version) == 1
    file = folder_of(registry, "forged", "1") / "requirements.txt"
    usual = file.read_text()
    file.write_text(usual + "skopz==1.0\n")
    with pytest.raises(ValueError, match="forged version 1: these files are not what was registered"):
        lines["checked"]("forged")
    file.write_text(usual)
    lines["TRUSTED"].discard("numpy.dtype")
    with pytest.raises(ValueError, match=r"forged version 1 holds types that are not trusted: \['numpy.dtype'\]"):
        lines["checked"]("forged")


# --- Following the champion ------------------------------------------------------------------------------------------


class Service:
    """Threads that predict all the time, as a server's do, by the docs' own lines."""

    def __init__(self, lines: dict[str, Any], rows: pd.DataFrame, seconds: float):
        block = BLOCKS["followed"].partition("champion = Champion(")[0]
        exec(block, lines)
        self.champion, self.rows = lines["Champion"]("moving", seconds), rows
        self.over, self.failed, self.answered = threading.Event(), [], []
        self.threads = [threading.Thread(target=self.work) for _ in range(3)]

    def work(self) -> None:
        while not self.over.is_set():
            try:
                began = time.monotonic()
                version, model = self.champion.now
                self.answered.append((began, str(version.version), model.predict(self.rows)[0]))
            except Exception as error:
                self.failed.append(error)

    def __enter__(self) -> Service:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        # The docs' thread is a daemon: it has to stop with this test's store.
        self.champion.seconds = 10**6

    def serves(self, version: str) -> bool:
        return bool(self.answered) and self.answered[-1][1] == version


def test_a_service_follows_the_champion(registry, lines):
    """The alias moves while threads predict: none fails, and what comes later is the new version's. A version that was
    tampered with is not taken."""
    data = table(300)
    other = data.assign(target=data["target"].map({"gone": "there", "there": "gone"}))
    for each in (data, other, data):
        registry.train("moving", each, linear, types=KINDS)
    store = client(registry)
    (folder_of(registry, "moving", "3") / "more.txt").write_text("tampered")
    rows = data[data["colour"].isna()].head(1).drop(columns="target")
    with Service(lines, rows, 0.1) as service:
        assert wait_for(lambda: service.serves("1"), 30)
        store.set_registered_model_alias("moving", "champion", "2")
        assert wait_for(lambda: service.serves("2"), 60)
        moved = time.monotonic()
        asks = len(service.answered)
        assert wait_for(lambda: len(service.answered) >= asks + 30, 60)
        store.set_registered_model_alias("moving", "champion", "3")
        asks = len(service.answered)
        assert wait_for(lambda: len(service.answered) >= asks + 30, 60)
    assert service.failed == []
    assert {(v, label) for _, v, label in service.answered} == {("1", "gone"), ("2", "there")}
    assert {v for began, v, _ in service.answered if began > moved} == {"2"}
