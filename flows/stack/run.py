"""Starts everything, says so once it is healthy, watches over it, and ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows.screen.ending import write_message
from flows.server.serving import copy_layout, keep_layout
from flows.stack import health
from flows.stack.allowed import find_deployments_file
from flows.stack.children import ChildProgram, end_all, start_program
from flows.stack.claim import claim_folder
from flows.stack.missed import skip_missed
from flows.stack.plan import Program, StackPlan
from models.errors import InputError, NestorError

PATIENCE = 180.0
"""Seconds that everything has to become healthy; a cold and busy machine needs a minute."""
RESTARTS, WITHIN = 3, 600.0
"""A program that dies is started anew, but not more often than this in so many seconds: then all is ended."""


class StopRequest(Exception):
    """Somebody asked it to end."""


class Stack:
    """The programs of one `nestor up`."""

    def __init__(self, plan: StackPlan) -> None:
        """Nothing is started yet."""
        self.plan, self.began = plan, time.monotonic()
        self.logs = plan.folder / "mlruns" / "logs"
        self.children: list[ChildProgram] = []

    def start(self) -> None:
        """Starts all of it, servers side by side, then workers and deployments; returns when all is healthy."""
        plan = self.plan
        copy_layout(plan.home)
        for program in plan.list_servers():
            self._add(program)
        checks = {"prefect": health.prefect_answers, "mlflow": health.mlflow_answers}
        self._wait_until_healthy({"prefect": checks["prefect"]})
        health.make_pool(plan)
        health.forget_workers(plan)
        if count := skip_missed(plan):
            write_message(
                f"  {count} missed runs of schedules are skipped: a later one of the same schedule is run now."
            )
        deployer = self._deploy()
        for number in range(1, plan.asked.workers + 1):
            self._add(plan.make_worker(number))
        names = {f"worker-{n}": plan.name_worker(n) for n in range(1, plan.asked.workers + 1)}
        worker_checks = {child: _is_online(name) for child, name in names.items()}
        self._wait_until_healthy({"mlflow": checks["mlflow"], **worker_checks})
        if deployer is not None:
            self._await_deployed(deployer)
        keep_layout(plan.home)

    def watch(self) -> None:
        """Starts what dies anew; returns never, raises NestorError when something dies too often."""
        while True:
            time.sleep(0.5)
            for child in self.children:
                if child.died:
                    self._revive(child)

    def _add(self, program: Program) -> None:
        self.children.append(start_program(program, self.logs))

    def _wait_until_healthy(self, checks: dict[str, Callable[[StackPlan], bool]]) -> None:
        """Returns when each of these programs is healthy; says so one by one."""
        checks, deadline = dict(checks), time.monotonic() + PATIENCE
        while checks:
            for child in self.children:
                if child.died:
                    self._revive(child)
            for name in [n for n, check in checks.items() if check(self.plan)]:
                del checks[name]
                self._say(name, "ready")
            if time.monotonic() > deadline:
                laggards = [c for c in self.children if c.program.name in checks]
                raise NestorError(f"Not healthy after {PATIENCE:.0f} s.\n" + "\n".join(map(_show_log_end, laggards)))
            time.sleep(0.1)

    def _revive(self, child: ChildProgram) -> None:
        """Says that it died, and starts it anew unless that has happened too often."""
        name, code = child.program.name, child.process.returncode
        write_message(f"{name} has ended (exit {code}). The end of {child.log}:\n{child.read_log_end()}")
        deaths = [t for t in child.deaths if time.monotonic() - t < WITHIN]
        if len(deaths) >= RESTARTS:
            raise NestorError(
                f"{name} has ended {len(deaths) + 1} times in ten minutes: everything is ended. See above."
            )
        child.restart()
        write_message(f"{name} is started anew.")

    def _deploy(self) -> ChildProgram | None:
        file = find_deployments_file(self.plan.folder)
        if not self.plan.asked.deploy:
            return None
        if file is None:
            write_message("There is no deployments/prefect.yaml or prefect.yaml here: nothing is deployed.")
            return None
        return start_program(self.plan.deploy(file), self.logs)

    def _await_deployed(self, deployer: ChildProgram) -> None:
        try:
            code = deployer.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise NestorError(f"The deployments could not be put on the server.\n{_show_log_end(deployer)}")
        self._say("deployed", ", ".join(health.list_deployments(self.plan)))

    def _say(self, name: str, text: str) -> None:
        write_message(f"  {name:<10} {text}  ({time.monotonic() - self.began:.1f} s)")


def _is_online(name: str) -> Callable[[StackPlan], bool]:
    return lambda plan: name in health.list_online_workers(plan)


def _show_log_end(child: ChildProgram) -> str:
    return f"The end of {child.log}:\n{child.read_log_end()}"


def run_stack(plan: StackPlan, when_up: Callable[[StackPlan, float], None]) -> None:
    """Starts it, calls `when_up(plan, seconds)`, and returns when somebody ends it; raises where it can't go on."""
    if plan.asked.workers < 1:
        raise InputError(f"--workers must be at least 1, not {plan.asked.workers}.")
    with claim_folder(plan), _end_on_exit(plan):
        stack = Stack(plan)
        stack.start()
        when_up(plan, time.monotonic() - stack.began)
        stack.watch()


@contextmanager
def _end_on_exit(plan: StackPlan) -> Iterator[None]:
    """Whatever ends the block ends all programs: also Ctrl-C, SIGTERM, a closed terminal and, by the keeper, a kill."""

    def over(*_: object) -> None:
        raise StopRequest

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    keeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.stack.keeper", plan.id], env=dict(plan.environment),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for number in signals:
            signal.signal(number, over)
        yield
    except StopRequest:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        write_message("Ending: flow runs and workers first, then the servers.")
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        end_all(plan.id, plan.api, plan.login)
        if keeper.stdin:
            keeper.stdin.close()
        keeper.wait(30)
    write_message("Down. What was made is kept in mlruns/.")
