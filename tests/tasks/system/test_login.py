"""The login of a folder's servers, and what of `mlruns/` others may see: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import NestorError
from tasks.system import login, private


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_it_is_made_once_and_is_its_owners_alone(tmp_path):
    root = tmp_path / "some" / "mlruns"
    made = login.ensure_login(root)
    name, password = login.split_login(made)
    assert name == "nestor"
    assert len(password) == 32
    assert login.ensure_login(root) == made
    assert (mode(root), mode(root / "login")) == ("0o700", "0o600")
    assert login.ensure_login(tmp_path / "other") != made


def test_one_that_the_user_gives_is_used_and_kept(tmp_path):
    login.ensure_login(tmp_path)
    assert login.ensure_login(tmp_path, "me:mine") == "me:mine"
    assert login.ensure_login(tmp_path) == "me:mine"
    assert mode(tmp_path / "login") == "0o600"


def test_processes_that_begin_together_agree(tmp_path):
    code = (
        f"from pathlib import Path; from tasks.system import login; print(login.ensure_login(Path({str(tmp_path)!r})))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in both}) == 1


def test_what_an_earlier_version_left_open_is_closed_once(tmp_path):
    root = tmp_path / "mlruns"
    database = root / "prefect" / "prefect.db"
    database.parent.mkdir(parents=True)
    database.touch(0o644)
    login.ensure_login(root)
    assert (mode(root), mode(database)) == ("0o700", "0o600")
    root.chmod(0o750)  # its owner opens it, knowingly
    login.ensure_login(root)
    assert mode(root) == "0o750"


def test_folders_that_are_there_stay_as_they_are(tmp_path):
    tmp_path.chmod(0o755)
    private.make_private_folder(tmp_path / "a" / "b")
    assert [mode(p) for p in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == ["0o755", "0o700", "0o700"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_another_users_folder_is_said(tmp_path):
    login.ensure_login(tmp_path)
    (tmp_path / "login").chmod(0)
    with pytest.raises(NestorError, match="belong to another user"):
        login.ensure_login(tmp_path)


def test_mlflow_wants_a_name_and_a_password():
    assert [login.split_login(said) for said in ("a:b", "a:b:c", "x")] == [("a", "b"), ("a", "b:c"), ("nestor", "x")]
