"""What the tasks of all flows have in common: nothing is cached or persisted by Prefect, and what is worth a retry."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from models.errors import NestorError


def _is_worth_retrying(task: Any, run: Any, state: Any) -> bool:
    """What the user did wrong is wrong again; a full disk or a lost connection may not be."""
    return not isinstance(state.result(raise_on_failure=False), NestorError)


PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
RETRIED: dict[str, Any] = {**PLAIN, "retries": 1, "retry_condition_fn": _is_worth_retrying}
