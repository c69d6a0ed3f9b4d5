"""`nestor up`: the whole stack on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.screen.printing import show_text
from tasks.system import login

if TYPE_CHECKING:
    from flows.stack import StackPlan

EXAMPLES = (
    "nestor up",
    "nestor up --prefect-port 4300 --mlflow-port 5300 --workers 2",
)


def up(
    prefect_port: Annotated[int, typer.Option("--prefect-port", min=1, max=65535, help="Prefect's port.")] = 4200,
    mlflow_port: Annotated[int, typer.Option("--mlflow-port", min=1, max=65535, help="MLflow's port.")] = 5000,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Workers that run what is deployed.")] = 1,
    pool: Annotated[str, typer.Option("--pool", metavar="NAME", help="The work pool.")] = "nestor",
    no_deploy: Annotated[bool, typer.Option("--no-deploy", help="Leave the deployments as they are.")] = False,
) -> None:
    """Start Prefect's and MLflow's servers, a worker and the deployments here, until Ctrl-C."""
    from flows.screen.ending import write_message
    from flows.server import prefect_server
    from flows.stack import StackRequest, plan_stack, run_stack

    variables = {login.GIVEN: os.environ.get(login.GIVEN) or login.ensure_login(Path("mlruns").resolve())}
    plan = plan_stack(
        StackRequest(prefect_port, mlflow_port, workers, pool, not no_deploy), Path.cwd(), os.environ | variables
    )
    api = prefect_server.find_own_api()
    if api and api != plan.api:
        write_message(
            f"PREFECT_API_URL or the active profile names {api}: commands in this shell use that, not this server."
        )
    write_message(f"Starting in {plan.folder}; logs are mlruns/logs/up-*.log")
    run_stack(plan, _show_addresses)


def _show_addresses(plan: StackPlan, seconds: float) -> None:
    name, password = login.split_login(plan.login)
    show_text(
        f"Up after {seconds:.0f} s.\n\n"
        f"  Prefect  {plan.prefect}   run and schedule what is deployed: Deployments, then Run\n"
        f"  MLflow   {plan.mlflow}   every run and trial, the registry\n\n"
        f"Both ask who is there. Prefect's page: {plan.login}\n"
        f"MLflow's page: name {name}, password {password}\n\n"
        "In another terminal, in this folder:\n"
        "  nestor train DATA --target COL        uses these servers\n"
        "for Prefect's own commands, and for programs that load models:/NAME@champion:\n"
        f"{_format_exports(plan)}\n\n"
        "Ctrl-C ends it; what was made is kept."
    )


def _format_exports(plan: StackPlan) -> str:
    """The settings of programs that ask the servers: Prefect's own commands, and those that load a model."""
    variables = {
        "PREFECT_API_URL": plan.api,
        "PREFECT_API_AUTH_STRING": plan.login,
        "MLFLOW_TRACKING_URI": plan.mlflow,
        **{name: plan.environment[name] for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")},
    }
    return "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in variables.items())
