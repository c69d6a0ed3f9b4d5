"""The systems that are compared: what is installed for each, at which version, and what begins its run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.command import NESTOR
from benchmarks.stamp import ROOT
from models.errors import InputError

SCRIPTS = Path(__file__).with_name("scripts")
READS = ("pyarrow==24.0.0",)
"""What every script needs beside its system, to read and write its files."""


@dataclass(frozen=True)
class System:
    """A system and the environment that it runs in."""

    name: str
    """As on the command line, and of its script."""
    title: str
    version: str
    """Rows of another version are not reused."""
    packages: tuple[str, ...] = ()
    """What its environment holds; none: this project's own Python is taken."""
    programs: tuple[str, ...] = ()
    """What must be on PATH beside it."""
    is_reference: bool = False
    """Whether it only marks a level: it has no budget and takes part in no ranking."""

    @property
    def script(self) -> Path:
        """What is run in its environment."""
        return SCRIPTS / f"{self.name}.py"

    def list_training_command(self, spec: Mapping[str, Any]) -> list[str]:
        """The command that trains before the script is run; empty where the script itself trains."""
        return _list_nestor_command(spec) if self.name == "nestor" else []


def _list_nestor_command(spec: Mapping[str, Any]) -> list[str]:
    roles = [part for role in ("group", "time") if spec[role] for part in (f"--{role}", spec[role])]
    return [
        str(NESTOR), "train", "train.parquet", "--target", spec["target"], "--task", spec["task"],
        "--metric", spec["metric"], "--budget", f"{spec['budget']:g}s", "--seed", str(spec["seed"]),
        "--workers", str(spec["cores"]), "--name", "peers", "--json", "--quiet", *roles,
    ]  # fmt: skip


@cache
def load_systems() -> dict[str, System]:
    """All systems by name, in the order of tables."""
    scikit, boosting = "scikit-learn==1.9.1", "lightgbm==4.7.0"
    known = (
        System("nestor", "Nestor", f"{version('nestor')}+{_compute_source_digest()}"),
        System("autogluon", "AutoGluon best_quality", "1.6.3", ("autogluon.tabular[all]==1.6.3",)),
        System("flaml", "FLAML", "2.8.0", ("flaml[automl]==2.8.0", "catboost==1.2.10", scikit, boosting)),
        System("h2o", "H2O AutoML", "3.46.0.12", ("h2o==3.46.0.12", "pandas==3.1.1", scikit), ("java",)),
        System("mljar", "mljar Compete", "1.3.2", ("mljar-supervised==1.3.2", scikit, boosting)),
        System("lightgbm", "default LightGBM", "4.7.0", (boosting, scikit, "pandas==3.1.1"), is_reference=True),
        System("forest", "default forest", "1.9.1", (scikit, "pandas==3.1.1"), is_reference=True),
    )
    return {system.name: system for system in known}


def choose_systems(names: str) -> list[System]:
    """The systems of these names, separated by commas; all where there are none."""
    known = load_systems()
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"No system '{unknown[0]}'. Known: {', '.join(known)}.")
    return [known[name] for name in wanted]


def _compute_source_digest() -> str:
    """Eight characters that change with the code of Nestor and with what it is locked to."""
    told = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    for package in ("flows", "tasks", "models"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".json"):
                told.update(str(path.relative_to(ROOT)).encode())
                told.update(path.read_bytes())
    return told.hexdigest()[:8]


OWN_PYTHON = Path(sys.executable)
