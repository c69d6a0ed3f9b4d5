"""The libraries whose versions make a run what it is."""

from __future__ import annotations

import importlib.metadata
import platform
from contextlib import suppress
from functools import cache

LIBRARIES = (
    "lightgbm", "nestor", "numpy", "optuna", "pandas", "pyarrow", "scikit-learn", "scipy", "skrub", "xgboost",
    "xgboost-cpu",
)  # fmt: skip
"""What may change what is read, tried or fitted."""


@cache
def list_installed_versions() -> dict[str, str]:
    """The versions installed here of what matters, by name, that of Python among them. Not to be changed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
