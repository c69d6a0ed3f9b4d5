"""MLflow's server: `python -m tasks.tracking.serve OPTIONS` is `mlflow server OPTIONS` over a store that was laid out.

Laying it out takes the lock that commands take: a server and a `nestor train` that begin together would both make the
tables, and one of them would fail."""

from __future__ import annotations

import os
import sys

from tasks.tracking.store import connect, is_sqlite_file


def main() -> None:
    """Serves MLFLOW_BACKEND_STORE_URI."""
    address = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if not is_sqlite_file(address) or not os.path.exists(address.removeprefix("sqlite:///")):
        connect(address)
    from mlflow.cli import cli

    cli(["server", *sys.argv[1:]], prog_name="mlflow")


if __name__ == "__main__":
    main()
