"""What the fork server loads before it makes workers: everything a fit needs and nothing else."""

import atexit
import os
import threading
import time

_loaded = threading.Event()


def _watch_driver() -> None:
    """Ends the fork server with its driver; once it has loaded all, it sees to that itself."""
    while not _loaded.is_set():
        if str(os.getppid()) != os.environ["NESTOR_DRIVER"]:
            os._exit(1)
        time.sleep(0.1)


_watching = threading.Thread(target=_watch_driver, daemon=True)
_watching.start()

import tasks.execution.worker  # noqa: E402, F401
from models.families import load_families  # noqa: E402

load_families()

_loaded.set()
_watching.join()  # a process of several threads must not be forked

# Its workers end with it. What it has loaded takes a second to be put away, on a busy machine many.
atexit.register(os._exit, 0)

# A group of its own: a signal to the whole group of a run (Ctrl-C, a worker that cancels) is for the run, which ends
# its fits itself. Killed under it, a fit would stand as failed.
os.setpgid(0, 0)
