"""Twenty kills over several runs: whatever is killed and whenever, the resumed run equals the unbroken one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.commands import Command, drop_volatile, read_mirror, read_studies, serve_folder
from tests.prove.conftest import Proof, scale_count
from tests.runs import wait_for
from tests.test_resume import TRAIN

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]


@dataclass(frozen=True)
class Kill:
    """Who is killed, and when: at so many lines in the journal, or as soon as a file of the run is there."""

    who: str
    events: int = 0
    file: str = ""

    def strike(self, command: Command) -> bool:
        """Whether the process was there to be killed at that moment."""
        work = command.folder / "mlruns" / "work"

        def now() -> bool:
            there = not self.file or bool(list(work.glob(f"*/{self.file}")))
            return (there and command.events() >= self.events and bool(command.victims(self.who))) or ended()

        def ended() -> bool:
            return command.process.poll() is not None

        wait_for(now, 120)
        return not ended() and command.kill(self.who)

    @property
    def moment(self) -> str:
        return f"{self.who} when {self.file} appears" if self.file else f"{self.who} at line {self.events}"


RUNS = (
    (Kill("main", 1), Kill("main", 12), Kill("main", 20), Kill("main", 34)),
    (Kill("main", 0, "work.arrow"), Kill("main", 0, "sealed/1.npy"), Kill("main", 0, "delivered/model.pkl"),
     Kill("main", 0, "artifacts/report.html")),
    (Kill("tracker", 1, "../../mlflow.db.new"), Kill("main", 14), Kill("server", 18), Kill("main", 28)),
    (Kill("server", 1), Kill("tracker", 12), Kill("server", 16), Kill("tracker", 22)),
    (Kill("worker", 12), Kill("worker", 16), Kill("worker", 22), Kill("worker", 28)),
)  # fmt: skip


LATE = ("train", "sklearn:breast_cancer", "--budget", "60s", "--families", "constant,linear,lda", "--json", "--quiet")


@pytest.mark.parametrize("file", ["fits/*/*/*/*/refit.json", "delivered/model.pkl", "artifacts/report.html"])
def test_a_run_with_a_budget_that_is_killed_at_its_end_becomes_a_model(file, tmp_path):
    """Less time is left than its end needs: what is fitted must not be lost for that."""
    with serve_folder(tmp_path / "run") as folder:
        assert Kill("main", 0, file).strike(Command(folder, *LATE))
        report = Command(folder, *LATE, "--resume").result()
        kinds = [held[1] for held in read_mirror(folder).values()]
    assert report["version"] == 1
    assert kinds.count("pipeline") == 1
    assert kinds.count("trial") >= sum(report["trials"].values())


def test_kills_leave_nothing_behind_and_change_nothing(proof: Proof, tmp_path):
    with serve_folder(tmp_path / "unbroken") as folder:
        unbroken = drop_volatile(Command(folder, *TRAIN).result()), read_mirror(folder), read_studies(folder)
    rows, failed, struck = [], [], 0
    for number, kills in enumerate(RUNS[: scale_count(len(RUNS), 1)]):
        with serve_folder(tmp_path / str(number)) as folder:
            command, done = Command(folder, *TRAIN), []
            for kill in kills:
                if kill.strike(command):
                    done.append(kill)
                    if kill.who == "main":
                        command = Command(folder, *TRAIN, "--resume")
            found = drop_volatile(command.result()), read_mirror(folder), read_studies(folder)
        struck += len(done)
        same = [a == b for a, b in zip(found, unbroken, strict=True)]
        rows.append([number + 1, ", ".join(k.moment for k in done), *("yes" if s else "NO" for s in same)])
        failed += [] if all(same) else [f"run {number + 1}"]
        failed += [f"run {number + 1}: only {len(done)} of {len(kills)} came to pass"] if len(done) < len(kills) else []
    proof.say(f"""`nestor {" ".join(TRAIN)}` with {struck} kills (SIGKILL) in {len(rows)} runs. After each kill of the
        main process all that it started must end by itself, and `--resume` goes on. In the end: is the report the
        unbroken one but for times and ids; does MLflow hold the same runs by `nestor.key`, none of them RUNNING; do the
        studies hold the same trials? (A killed worker costs nothing: its fit is done once more.)""")
    proof.table(["run", "killed", "report", "MLflow", "studies"], rows)
    proof.verdict("Kills: killed and resumed equals unbroken", failed)
