"""A disk that is full: one sentence, whoever says it, and a run that can be gone on with."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from flows.screen import ending
from tasks.run.folder import Workdir
from tasks.system.disk import FullDiskError, is_full, make_full_disk_error
from tests.stack import make_command


def caused() -> Exception:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/x/a")
        except OSError:
            raise RuntimeError("a library's own") from None
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x/a"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        caused(),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
        "OSError: [Errno 28] No space left on device: '/x/a'",
    ],
)
def test_a_full_disk_is_known_whoever_says_it(error, capsys):
    assert is_full(error)
    said = str(make_full_disk_error(error))
    assert "--resume" in said
    assert "is lost" in said
    assert "is kept" in said
    if isinstance(error, Exception):
        assert ending.report_error(error) == 1
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        assert "did not expect" not in shown


@pytest.mark.parametrize(
    "error",
    [
        None, "", OSError(errno.EACCES, "Permission denied"), ValueError("full"),
        RuntimeError("the server says 413: File too large"), "could not extend file: No space left on device",
    ],
)  # fmt: skip
def test_other_errors_and_disks_of_others_are_none(error):
    assert not is_full(error)


def test_a_file_that_did_not_fit_leaves_the_one_before(tmp_path):
    """Under a limit on the size of files, which ends a write as a full disk does."""
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tasks.system.disk import is_full
from tasks.run.folder import Workdir
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    Workdir(Path(sys.argv[1])).write_json("run.json", {"a": "x" * 5000})
except OSError as error:
    print(is_full(error))
"""
    Workdir(tmp_path).write_json("run.json", {"a": "before"})
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert Workdir(tmp_path).read_json("run.json") == {"a": "before"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /dev/full")
def test_a_result_that_nobody_can_take_is_said_in_a_line(tmp_path):
    with open("/dev/full", "w") as out:
        done = subprocess.run(
            make_command("--version"), cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the result can't be written to standard output: No space left on device.\n"


def test_a_full_disk_is_told_once_with_its_own_words():
    error = FullDiskError("said before")
    assert str(make_full_disk_error(error)) == "said before"
