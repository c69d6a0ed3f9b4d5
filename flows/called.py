"""A flow that may be called like any function: where no Prefect server answers, one of our own is started."""

from __future__ import annotations

from typing import Any

from flows import begin, server

server.quiet_environment()  # Prefect reads its settings when it is imported

from prefect import Flow  # noqa: E402
from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: E402


class Called(Flow):
    """A flow that, called as a function, first sees to it that a Prefect server answers.

    A worker that runs a deployment does not come this way: it has a server, and every stage is run where the flow
    says."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The flow's result."""
        with begin.served() as url, temporary_settings({PREFECT_API_URL: url}):
            return super().__call__(*args, **kwargs)
