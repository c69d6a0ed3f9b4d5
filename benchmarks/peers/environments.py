"""An environment of its own for each system, made by uv from the package index."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.systems import OWN_PYTHON, READS, System
from benchmarks.stamp import ROOT
from models.errors import InputError

OTHER_PYTHONS = ("3.12", "3.11", "3.10")
"""What is tried, as far as uv finds or gets it, where a system can't be installed for the Python that runs this."""


@dataclass(frozen=True)
class Environment:
    """Where a system runs."""

    python: Path | None
    """None where it could not be installed."""
    why: str = ""
    """The reason for that, in one line."""


def make_environment(folder: Path, system: System) -> Environment:
    """The system's environment in this folder, which is made where it is not there as it should be."""
    if missing := [program for program in system.programs if not shutil.which(program)]:
        return Environment(None, f"{missing[0]} is not on PATH; {system.title} needs it")
    if not system.packages:
        return Environment(OWN_PYTHON)
    place, wanted = folder / system.name, "\n".join([*system.packages, *READS])
    python, made = place / "bin" / "python", place / "made-of"
    if made.exists() and made.read_text() == wanted:
        return Environment(python)
    reasons = []
    for choice in _list_pythons():
        if not (why := _install(place, choice, wanted.splitlines())):
            made.write_text(wanted)
            return Environment(python)
        reasons.append(f"Python {choice}: {why}")
    return Environment(None, reasons[0])


def _list_pythons() -> Iterator[str]:
    own = "{}.{}".format(*sys.version_info)
    yield sys.executable
    yield from (other for other in OTHER_PYTHONS if other != own)


def _install(place: Path, python: str, packages: list[str]) -> str:
    """Makes the environment; returns why that failed, or nothing."""
    uv = find_uv()
    # Bytecode is compiled now, so that no run spends its budget on it.
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", python, str(place)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(place / "bin" / "python"), *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return " ".join(done.stderr.split())[-300:]
    return ""


def find_uv() -> str:
    """uv on PATH, or the one that `make setup` has brought."""
    own = ROOT / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise InputError(
            "uv makes the environments of the peers, and is neither on PATH nor in .uv/bin: run make setup."
        )
    return found


def list_versions(python: Path) -> list[str]:
    """`name==version` of all that is installed beside this Python."""
    asked = "from importlib.metadata import distributions as d;print(*sorted({f'{x.name}=={x.version}' for x in d()}))"
    done = subprocess.run([str(python), "-I", "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()
