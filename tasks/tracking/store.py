"""Where MLflow keeps its runs: the address, the experiment, and how errors are told."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import NestorError
from models.text.address import mask_address
from models.text.safe import shorten
from tasks.system import private
from tasks.system.lock import hold_lock
from tasks.system.proxy import spare_this_machine
from tasks.system.secret_addresses import hide_passwords
from tasks.tracking.mirror import described

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # MLflow's own patience (7 attempts, 2 minutes each) would hold a run's end up for half an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

PATIENCE = 5.0
"""Seconds in which a call to MLflow is made again where it failed for a reason that may pass."""
T = TypeVar("T")
log = logging.getLogger("nestor.tracking")


def connect_store(address: str) -> MlflowClient:
    """A client of the store at `address`, which is made if it is SQLite and missing; says nothing on the screen."""
    os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
    spare_this_machine()
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        with lock_store(address):
            _create_store(address)
            _use_store(mlflow, address)
            client = mlflow.MlflowClient(address)
            client.get_experiment_by_name("nestor")
        return client
    except ModuleNotFoundError as error:
        raise NestorError(
            f"MLflow at {mask_address(address)} needs the package {error.name!r}, which is missing."
        ) from error
    except Exception as error:
        raise NestorError(f"MLflow at {mask_address(address)} does not answer: {describe_error(error)}") from error


def _use_store(mlflow: Any, address: str) -> None:
    """Makes `models:/` addresses those of this store. MLflow would also set the environment's variable, which for the
    next command in this process, perhaps in another folder, would stand for the user's wish."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(address)
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


def _create_store(address: str) -> None:
    """Makes a SQLite store whole or not at all: one whose migrations a kill broke off would be refused for ever."""
    import mlflow

    path = Path(address.removeprefix("sqlite:///"))
    if not is_sqlite_file(address) or path.exists():
        return
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{draft}").get_experiment_by_name("nestor")
    private.restrict_to_owner(draft)
    draft.replace(path)


def describe_error(error: BaseException) -> str:
    """The error's first line, bounded, without passwords."""
    return shorten(hide_passwords(str(error).strip().split("\n")[0]) or type(error).__name__, 300)


@contextmanager
def lock_store(address: str) -> Iterator[None]:
    """Alone among this machine's Nestor processes with that store: MLflow's migrations, and reading a tag to write it
    anew, are not safe among several."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"nestor-{os.getuid()}-{digest}.lock"
    if is_sqlite_file(address):
        lock_file = Path(address.removeprefix("sqlite:///") + ".lock")
        with suppress(OSError):  # beside a store that may only be read there is none, and its readers need none
            private.make_private_folder(lock_file.parent)
            lock_file.touch()
            path = lock_file
    with hold_lock(path):
        yield


def is_sqlite_file(address: str) -> bool:
    """Whether the address names a SQLite file."""
    return address.startswith("sqlite:///") and not address.endswith("///") and ":memory:" not in address


def ensure_experiment(client: MlflowClient, address: str, name: str) -> str:
    """The id of the experiment `name`, made if missing; a deleted one is taken back."""
    with lock_store(address):
        experiment = client.get_experiment_by_name(name)
        tags = described.describe_experiment(name)
        if experiment is None:
            return client.create_experiment(name, artifact_location=_locate_artifacts(address, name), tags=tags)
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        for key in tags.keys() - experiment.tags.keys():  # one that an earlier version made
            client.set_experiment_tag(experiment.experiment_id, key, tags[key])
        return experiment.experiment_id


def _locate_artifacts(address: str, name: str) -> str | None:
    """Where a local store's artifacts lie (beside the database, else in the current directory's mlruns); a server
    decides for itself."""
    if not address.startswith(("sqlite:", "postgresql", "mysql", "mssql")):
        return None
    database = Path(address.removeprefix("sqlite:///")).resolve().parent if is_sqlite_file(address) else None
    # The database holds at most 200 characters of a run's path.
    folder = re.sub(r"[^\w.-]", "_", name)[:40] + "-" + hashlib.sha256(name.encode()).hexdigest()[:6]
    return ((database or Path("mlruns").resolve()) / "artifacts" / folder).as_uri()


def search_runs(client: MlflowClient, experiments: Sequence[str], query: str) -> Iterator[Run]:
    """The runs that fit, page by page, newest first."""
    token: str | None = None
    while True:
        page = client.search_runs(list(experiments), query, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed later. MLflow names the errors that are about the record itself."""
    codes = {
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_ALREADY_EXISTS",
        "BAD_REQUEST",
        "INVALID_STATE",
        "MALFORMED_REQUEST",
    }
    code = getattr(error, "error_code", None)
    types = (TypeError, ValueError, KeyError, PermissionError, FileNotFoundError, NotADirectoryError)
    return code not in codes and not isinstance(error, types)


def call_patiently(call: Callable[[], T]) -> T:
    """What `call` returns, which may be asked twice; an error that may pass is its own only after PATIENCE seconds."""
    deadline, pause = time.monotonic() + PATIENCE, 0.2
    while True:
        try:
            return call()
        except Exception as error:
            is_lasting = isinstance(error, NestorError) or not is_transient(error)
            if is_lasting or time.monotonic() + pause > deadline:
                raise
            log.warning("asked again: %s", describe_error(error))
        time.sleep(pause)
        pause *= 3
