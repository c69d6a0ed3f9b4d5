"""Long proofs write what they found into docs/proofs.md, each its own section, whichever of them is run.

`NESTOR_PROVE_SCALE=0.1` runs a tenth of everything and prints the sections instead of writing them. `NESTOR_TABLES`
names a folder or list of more real tables, as `benchmarks.tables` takes it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import pytest

from benchmarks.tables import list_tables

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proofs.md"
SCALE = float(os.environ.get("NESTOR_PROVE_SCALE", "1"))
HEAD = """# Proofs

Laws that take hundreds of runs to hold Nestor to; what the words mean is in [estimates.md](estimates.md). Each section
is written by its test in `tests/prove`: all by `make prove`, one by `python -m pytest -m prove -k law_8`.
`NESTOR_TABLES`, a folder or list of tables as `benchmarks.tables` takes it, gives laws 7 and 8 more real ones.

`make prove` tries the searches too, by the laws in `tests/models` and `tests/test_searches.py`. Those of the extra
`bayes` (`gp`, `botorch`) it skips, with a line that says so, until `uv sync --extra bayes` has brought PyTorch. These
alone: `.venv/bin/python -m pytest -m prove tests/models tests/test_searches.py -k "gp or botorch"`.
"""
ORDER = (
    "law_1", "law_1_repeats", "law_2", "law_7", "law_8", "law_8_states", "law_8_test", "kills", "team", "one_machine",
    "schedules_sqlite", "schedules_postgres",
)  # fmt: skip
SECTION = re.compile(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->\n", re.DOTALL)


class Proof:
    """A section of the page: a claim, a table of what was found, and whether it holds."""

    def __init__(self, name: str, page: Path):
        self.name, self.page = name, page
        self.begun = time.time()
        self._parts: list[str] = []

    def say(self, text: str) -> None:
        """Adds a paragraph."""
        self._parts.append(" ".join(text.split()) + "\n")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Adds a table."""
        lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
        self._parts.append("".join(f"| {' | '.join(line)} |\n" for line in lines))

    def verdict(self, title: str, failed: Sequence[str]) -> None:
        """Writes the section; fails with what does not hold."""
        holds = "holds" if not failed else "DOES NOT HOLD: " + "; ".join(failed)
        minutes = (time.time() - self.begun) / 60
        text = "\n".join(
            [f"## {title}\n", f"**It {holds}.**\n", *self._parts, f"*{make_stamp()}, {minutes:.1f} minutes*\n"]
        )
        self._write(text) if SCALE == 1 else print("\n" + text)
        assert not failed, failed

    def _write(self, text: str) -> None:
        kept = dict(SECTION.findall(self.page.read_text("utf-8"))) if self.page.exists() else {}
        kept[self.name] = text
        places = {name: place for place, name in enumerate(ORDER)}
        sections = sorted(kept.items(), key=lambda item: places.get(item[0], 99))
        body = "".join(f"\n<!-- begin {name} -->\n{part}<!-- end {name} -->\n" for name, part in sections)
        self.page.write_text(HEAD + body, "utf-8")


def make_stamp() -> str:
    """Commit, date and machine."""
    return f"{_describe_commit()}, {time.strftime('%Y-%m-%d')}, {_describe_machine()}"


def _describe_commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "flows", "tasks", "models", "tests")
    return f"commit {git('rev-parse', '--short', 'HEAD') or 'unknown'}{' with changes' if changed else ''}"


def _describe_machine() -> str:
    size = f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB"
    return f"{platform.system()} {platform.machine()}, {size}, Python {platform.python_version()}"


def scale_count(count: int, least: int = 4) -> int:
    """So many at full size, a share of them in a trial run."""
    return max(least, round(count * SCALE))


def list_more_tables(*only: str) -> list[tuple[Path, str, list[str]]]:
    """File, target and options of each table, or of those of these names, that `NESTOR_TABLES` tells of."""
    place = os.environ.get("NESTOR_TABLES")
    return list(list_tables(Path(place), list(only))) if place else []


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """The section that bears the test's name: `test_law_8_...` writes `law_8`, `test_schedules[sqlite]` its own."""
    test = request.node.name.removeprefix("test_").replace("[", "_")
    name = max((n for n in ORDER if test.startswith(n)), key=len)
    return Proof(name, PAGE)
