"""What the field uses, beside the strategies: `python -m benchmarks.search.field --folder OUT --environments VENVS
[--tools grid,hyperopt] [--trials 60] [--seeds 3] [--families lightgbm,linear,mlp] [--problems lightgbm-car]`.

Each tool runs in a virtual environment of its own, made in VENVS by uv: its pinned versions, and those packages that a
fit needs, in this environment's versions. It has the same prepared columns, folds and number of trials, on one core.
OUT/real gets a parquet file for each tool, problem and seed; what is there is not run again."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from benchmarks.search.problem import FAMILIES, Problem, list_problems
from benchmarks.search.race import locate_trials
from benchmarks.stamp import ROOT

FITS = (
    "lightgbm", "scikit-learn", "skrub", "pandas", "pyarrow", "numpy", "scipy", "optuna", "pydantic", "psutil",
    "threadpoolctl", "pyyaml", "xgboost-cpu" if sys.platform == "linux" else "xgboost",
)  # fmt: skip
"""What a fit and its space need, and what is imported beside them."""

TOOLS = {
    "grid": ("GridSearchCV", ()),
    "random": ("RandomizedSearchCV", ()),
    "halving": ("HalvingRandomSearchCV", ()),
    "hyperopt": ("Hyperopt", ("hyperopt==0.3.0",)),
    "ray_tune": ("Ray Tune", ("ray[tune]==2.60.0",)),
}
"""Each tool's name, and what it needs beside scikit-learn."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
}  # fmt: skip
"""Ray tells nobody of us, keeps no token in the home folder, and has patience with a busy machine."""


def main() -> None:
    """Runs what is missing, seed by seed."""
    asked = _parse_arguments()
    names = asked.tools.split(",")
    pythons = {name: _make_environment(asked.environments, name) for name in names}
    todo = [
        (n, p, seed)
        for seed in range(asked.seeds)
        for p in list_problems(asked.folder / "tables", asked.families.split(","))
        for n in names
        if not asked.problems or p.name in asked.problems.split(",")
    ]
    with ThreadPoolExecutor(asked.workers) as pool:
        for said in pool.map(lambda one: _run_tool(pythons[one[0]], *one, asked), todo):
            print(said, file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--environments", type=Path, required=True, help="where virtual environments are made")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--families", default=FAMILIES)
    parser.add_argument("--problems", default="", help="such as lightgbm-car")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds for a tool on a problem")
    return parser.parse_args()


def _make_environment(folder: Path, name: str) -> Path:
    """The Python of the tool's environment, which is made where it is not there as it should be."""
    place = folder / name
    python, made = place / "bin" / "python", place / "made-of"
    pinned = [*(f"{package}=={version(package)}" for package in FITS), *TOOLS[name][1]]
    if not made.exists() or made.read_text() != "\n".join(pinned):
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *pinned], check=True)
        made.write_text("\n".join(pinned))
    return python


def _run_tool(python: Path, name: str, problem: Problem, seed: int, asked: argparse.Namespace) -> str:
    """Runs a tool on a problem with a seed; a line for the screen."""
    label = TOOLS[name][0]
    if locate_trials(asked.folder, f"{label}-{seed}", problem.name, "real").exists():
        return f"{label} on {problem.name}, seed {seed}: there"
    began = time.monotonic()
    places = [str(path.resolve()) for path in (problem.folder, asked.folder)]
    given = [name, label, problem.family.name, str(seed), str(asked.trials), *places]
    settings = os.environ | QUIET | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [str(python), "-m", "benchmarks.search.competitor", *given], cwd=ROOT, env=settings, capture_output=True,
            text=True, timeout=asked.timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{label} on {problem.name}, seed {seed}: no end within {asked.timeout:.0f} s"
    said = f"{time.monotonic() - began:.0f} s" if not done.returncode else done.stderr.strip()[-2000:]
    return f"{label} on {problem.name}, seed {seed}: {said}"


if __name__ == "__main__":
    main()
