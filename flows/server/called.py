"""A flow that may be called like any function: where no Prefect server answers, one of our own is started. Run by a
worker, it says in one sentence what was wrong, and a second attempt goes on where the first one stopped."""

from __future__ import annotations

import functools
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import WithJsonSchema

from flows.server import begin, prefect_server

prefect_server.set_quiet_environment()  # Prefect reads its settings when it is imported
# Its home is made with the first server, in a folder that need not be there yet.
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory", UserWarning)
# Signs of life, by which deployments/automations.yaml knows a run of a command too that was killed.
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")

from prefect import Flow  # noqa: E402
from prefect.context import FlowRunContext, TagsContext  # noqa: E402
from prefect.events.worker import EventsWorker  # noqa: E402
from prefect.exceptions import ParameterTypeError, TerminationSignal  # noqa: E402
from prefect.runtime import deployment  # noqa: E402
from prefect.states import Cancelled, Completed, Failed  # noqa: E402

from flows.server import cancel, gone  # noqa: E402
from models.config import problems  # noqa: E402
from models.config.places import is_settings  # noqa: E402
from models.errors import InterruptedRunError, NestorError, SkippedRunError  # noqa: E402
from tasks.system import login  # noqa: E402
from tasks.system.disk import is_full, make_full_disk_error  # noqa: E402

TAG, PART = "nestor", "nestor-part"
"""By these tags deployments/automations.yaml knows our flow runs; PART is one within another."""

SENDING = 10.0
"""Seconds that the end of a flow waits at most until all is sent."""


class ServedFlow(Flow):
    """A flow that, called as a function, first sees to it that a Prefect server answers.

    A worker that runs a deployment does not come this way: it has a server, and every stage is run where the flow
    says."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        hidden: tuple[str, ...] = (),
        forms: Mapping[str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """`hidden`: parameters that the form in Prefect's page leaves out; `forms`: JSON schemas by which it draws
        others instead of their own."""
        super().__init__(_translate_errors(fn), **options)
        signature = inspect.signature(self.fn)
        replacements = {
            name: signature.parameters[name].replace(annotation=Annotated[Any, WithJsonSchema(schema)])
            for name, schema in (forms or {}).items()
        }
        parameters = [
            replacements.get(name, parameter) for name, parameter in signature.parameters.items() if name not in hidden
        ]
        self.__signature__ = signature.replace(parameters=parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The flow's result."""
        with use_server(), _drain_events(), _add_tags():
            return super().__call__(*args, **kwargs)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as settings. Where they are none they stay as they came: the flow itself says what is wrong,
        in Nestor's words and not in pydantic's."""
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError:
            return parameters


@contextmanager
def use_server() -> Iterator[None]:
    """Inside the block Prefect's client asks the server that this command uses; it answers, and is kept alive."""
    with begin.reach_server() as settings, login.use_server_settings(settings):
        yield


@contextmanager
def _drain_events() -> Iterator[None]:
    """Waits at the end until Prefect's client has sent what it has to say: the server may be gone, or another one be
    used, when the process ends, and then it would hold the process up."""
    try:
        yield
    finally:
        if FlowRunContext.get() is None:
            # In a thread of its own: where an event loop runs, as in a notebook, it would give something to await.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(EventsWorker.drain_all, timeout=SENDING, at_exit=False).result()


def _add_tags() -> TagsContext:
    """Inside the block flow runs that begin have our tag, beside the caller's own."""
    tag = TAG if FlowRunContext.get() is None else PART
    return TagsContext(current_tags={*(TagsContext.get().current_tags - {TAG, PART}), tag})


def leave_tags() -> TagsContext:
    """Inside the block task runs have no tags: for each tag of each Prefect would ask the server for a slot of a
    concurrency limit, and that takes longer than some of our stages."""
    return TagsContext(current_tags=set())


def _translate_errors(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function; what the user or the run's time did wrong ends it as Failed with its message and no more, a run
    that was cancelled ends as Cancelled, and that of a deployment which another one makes needless as Skipped."""
    signature = inspect.signature(fn, eval_str=True)

    @functools.wraps(fn)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = _validate_settings(signature.parameters[name].annotation, value)
            with gone.record_flow_run(), cancel.obey_cancellation():
                return fn(*bound.args, **bound.kwargs)
        except (TerminationSignal, InterruptedRunError):
            if not cancel.is_cancelled():
                raise
            return Cancelled(data=InterruptedRunError(cancel.SENTENCE), message=cancel.SENTENCE)
        except NestorError as error:
            if isinstance(error, SkippedRunError) and deployment.id:
                return Completed(name="Skipped", message=str(error))
            return Failed(data=error, message=str(error))
        except Exception as error:
            if not is_full(error):
                raise
            return Failed(data=make_full_disk_error(error), message=str(make_full_disk_error(error)))

    vars(told)["__signature__"] = signature  # Prefect reads the types from here
    return told


def _validate_settings(annotation: Any, value: Any) -> Any:
    """The value as the settings that are wanted; InputError where it is none."""
    return problems.validate_settings(annotation, value) if is_settings(annotation) else value
