"""The tree: what `import models` means, and that no name of ours hides another's. Contracts: `make check`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "models")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.stem not in ("__init__", "__main__")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_top_level_packages_are_this_project(package):
    found = importlib.import_module(package)
    assert found.__file__ is not None
    assert Path(found.__file__).parent == ROOT / package


@pytest.mark.parametrize("package", PACKAGES)
def test_no_installed_package_bears_our_names(package):
    elsewhere = [p for p in sys.path if p and Path(p).resolve() not in (ROOT, ROOT / "tests")]
    foreign = [p for p in elsewhere if (Path(p) / package).exists() or (Path(p) / f"{package}.py").exists()]
    assert not foreign


def test_no_file_hides_a_standard_module():
    """A folder that is first on `sys.path`, as a script's is, would give `import stats` our file."""
    names = {m.split(".")[-1]: m for m in MODULES}
    assert not {m for name, m in names.items() if name in sys.stdlib_module_names}
    assert not set(PACKAGES) & set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_in_its_first_line_what_it_is_for(module):
    text = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()[0]) > 15


def test_tests_hold_no_packages():
    """With `__init__.py` files, `tests/models` would hide `models`."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
