"""This folder and its ports, for one `nestor up` at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from flows.server import prefect_server
from flows.stack.children import end_all
from flows.stack.plan import HOST, StackPlan
from models.errors import InputError
from tasks.system import login, private

LEAVING = 5.0
"""Seconds that the small server of an earlier command has to let its port go."""


@contextmanager
def claim_folder(plan: StackPlan) -> Iterator[None]:
    """Inside the block commands in this folder use the server of this process; raises InputError where another
    `nestor up` is there or a port is taken."""
    private.make_private_folder(plan.home)
    with prefect_server.lock_home(plan.home):
        record = prefect_server.read_record(plan.home)
        _refuse_second(record)
        if record.get("up"):
            end_all(record["id"])  # what a machine that went down, or a killed keeper, has left
        _refuse_taken(plan.asked.mlflow_port, "--mlflow-port")
        port = plan.asked.prefect_port
        if port != record.get("port") or prefect_server.find_recorded_process(record) is None:
            _refuse_taken(port, "--prefect-port")
        login.ensure_login(plan.home.parent, plan.login)  # commands in this folder know it from there
        extras = {} if plan.store_is_here else {"tracking": plan.mlflow}
        prefect_server.record_server(plan.home, os.getpid(), port, up=True, id=plan.id, mlflow=plan.mlflow, **extras)
    try:
        # An earlier command's small server ends by itself once it reads that another has taken its place.
        _await_free(port)
    except InputError:
        (plan.home / "server.json").unlink()
        raise
    yield


def _refuse_second(record: dict) -> None:
    process = prefect_server.find_recorded_process(record)
    if record.get("up") and process is not None:
        raise InputError(
            f"It is up already in this folder: Prefect http://{HOST}:{record['port']}, MLflow {record['mlflow']}. "
            f"Ctrl-C there, or `kill {process.pid}`, ends it."
        )


def _await_free(port: int) -> None:
    deadline = time.monotonic() + LEAVING
    while not _is_free(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    _refuse_taken(port, "--prefect-port")


def _refuse_taken(port: int, option: str) -> None:
    if not _is_free(port):
        raise InputError(
            f"Port {port} is taken{_describe_holder(port)}. Choose another: nestor up {option} {_find_free_port(port)}"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _describe_holder(port: int) -> str:
    """` by process 12 (python -m http.server)`, or nothing where that can't be seen."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return f" by process {connection.pid} ({command})"
    return ""


def _find_free_port(port: int) -> int:
    return next((p for p in range(port + 1, min(port + 100, 65536)) if _is_free(p)), port + 1)
