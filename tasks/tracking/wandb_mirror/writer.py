"""The process that copies a run's journal for Weights & Biases: `python -m tasks.tracking.wandb_mirror.writer WORKDIR`.

It ends after its parent: its standard input closing says that the run is over, well or not. Nothing waits for it long,
so it writes offline files always and leaves sending them to W&B's own `wandb sync`."""

# pyright: reportMissingImports=false
from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from models.text.safe import shorten
from tasks.run.folder import Workdir
from tasks.system.lock import hold_lock
from tasks.system.secret_addresses import PasswordHidingStream
from tasks.tracking.wandb_mirror.runs import WandbRuns

log = logging.getLogger("nestor.wandb")

POLL = 2.0
"""Seconds between two looks at the journal."""
EVERY = 300.0
"""Seconds between two uploads while the run goes on: each imports wandb anew, two seconds of a core."""
LATEST = 900.0
"""Seconds after which it ends whatever is not done: a server that is down is asked again for very long."""


class WandbUpload:
    """`wandb sync` over the folder, now and then; it skips what it has sent."""

    def __init__(self, folder: Path) -> None:
        """Sends nothing yet."""
        self.folder, self.said = folder, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._last = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether W&B is to be asked over the network: WANDB_MODE and `wandb offline` say so."""
        import wandb

        return wandb.setup().settings.mode not in ("offline", "dryrun", "disabled")

    @property
    def sent(self) -> int:
        """How many of the runs W&B has."""
        return len(list(self.folder.glob("*/*.synced")))

    def sync_when_due(self) -> None:
        """Sends what is new, where the last time is long ago."""
        if self._has_ended() and time.monotonic() - self._last > EVERY and self.folder.exists() and self.wanted:
            self._begin()

    def sync_last(self) -> None:
        """Sends what is left and waits for it."""
        if self._process is not None:
            self._process.wait()
        if self.folder.exists() and self.wanted:
            self._begin().wait()
            self._has_ended()

    def _begin(self) -> subprocess.Popen[bytes]:
        with (self.folder / "sync.log").open("wb") as output:
            command = [sys.executable, "-P", "-m", "wandb", "sync", str(self.folder)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._last = time.monotonic()
        return self._process

    def _has_ended(self) -> bool:
        """Whether none is under way; keeps what the last one complained of."""
        if self._process is None or self._process.poll() is None:
            return self._process is None
        if self._process.returncode != 0:
            lines = (self.folder / "sync.log").read_text("utf-8", "replace").strip().splitlines()
            self.said = shorten(lines[-1] if lines else "wandb sync failed", 200)
        self._process = None
        return True


def follow_journal(workdir: Path, end: threading.Event) -> None:
    """Copies until the run is over and everything is written and sent; WORKDIR/wandb/state.json says how far it is."""
    runs, upload = WandbRuns(workdir), WandbUpload(workdir / "wandb")
    while not end.is_set():
        if not runs.follow():
            upload.sync_when_due()
            end.wait(POLL)
    while runs.follow():
        pass
    runs.close_open()
    while runs.write():
        pass
    if not runs.held and not runs.lost:  # nothing was ever recorded; the folder may be gone
        return
    _write_state(runs, upload, done=False)
    upload.sync_last()
    _write_state(runs, upload, done=True)


def _write_state(runs: WandbRuns, upload: WandbUpload, done: bool) -> None:
    state = {
        "written": len(runs.held), "lost": len(runs.lost), "why": next(iter(runs.lost.values()), ""), "done": done,
        "online": not runs.lost and upload.wanted, "sent": upload.sent, "said": upload.said,
    }  # fmt: skip
    Workdir(runs.folder).write_json("state.json", state)


def main() -> None:
    """Follows the journal in the folder that the command line names."""
    os.nice(10)
    sys.stdout = sys.stderr = PasswordHidingStream(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    end = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        end.set()
        time.sleep(LATEST)
        os.killpg(0, signal.SIGKILL)  # an upload under way too: the group is this process's own

    threading.Thread(target=wait, daemon=True).start()
    workdir = Path(sys.argv[1])
    with hold_lock(workdir / "wandb.lock"):
        follow_journal(workdir, end)
    # W&B's service ends with this process.
    os._exit(0)


if __name__ == "__main__":
    main()
