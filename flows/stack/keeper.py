"""Ends what a killed `nestor up` has left: `python -m flows.stack.keeper ID`, which waits for its standard input to
close. Nobody else notices a kill -9: the servers and workers have sessions of their own."""

from __future__ import annotations

import os
import signal
import sys

from flows.stack.children import end_all


def main() -> None:
    """Waits for the end of `nestor up`, however it comes, and tidies up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_all(sys.argv[1], os.environ["PREFECT_API_URL"], os.environ.get("PREFECT_API_AUTH_STRING", ""))


if __name__ == "__main__":
    main()
