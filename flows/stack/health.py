"""Whether the servers and workers of a plan are well, and what is on them."""

from __future__ import annotations

from typing import Any

from flows.server.prefect_server import is_healthy
from flows.stack.ask import ask_server
from flows.stack.plan import StackPlan


def prefect_answers(plan: StackPlan) -> bool:
    """Whether Prefect's server reaches its database and its page is there."""
    return (
        is_healthy(plan.api)
        and ask_server(f"{plan.api}/ready") is not None
        and ask_server(f"{plan.prefect}/") is not None
    )


def mlflow_answers(plan: StackPlan) -> bool:
    """Whether MLflow's server reaches its database."""
    url = f"{plan.mlflow}/api/2.0/mlflow/experiments/search"
    return ask_server(url, {"max_results": 1}, plan.environment.get("NESTOR_MLFLOW_LOGIN", "")) is not None


def make_pool(plan: StackPlan) -> None:
    """The work pool, made if it is missing: workers and deployments both need it and start side by side."""
    ask_prefect(plan, "/work_pools/", {"name": plan.asked.pool, "type": "process"})


def list_online_workers(plan: StackPlan) -> set[str]:
    """The names of the pool's workers that have lately been heard of."""
    workers = ask_prefect(plan, f"/work_pools/{plan.asked.pool}/workers/filter", {}) or []
    return {worker["name"] for worker in workers if worker.get("status") == "ONLINE"}


def forget_workers(plan: StackPlan) -> None:
    """Takes an earlier time's workers off the page, where they would stand online for a while yet."""
    for number in range(1, plan.asked.workers + 1):
        name = plan.name_worker(number)
        ask_prefect(plan, f"/work_pools/{plan.asked.pool}/workers/{name}", method="DELETE")


def list_deployments(plan: StackPlan) -> list[str]:
    """The deployments there are, as flow/name."""
    deployments = ask_prefect(plan, "/deployments/filter", {"limit": 200}) or []
    return sorted(d["name"] for d in deployments if d.get("work_pool_name") == plan.asked.pool)


def ask_prefect(plan: StackPlan, path: str, body: Any = None, method: str | None = None) -> Any:
    """What Prefect's server answers to this of its API's paths; None where it does not answer or refuses."""
    return ask_server(plan.api + path, body, plan.login, method)
