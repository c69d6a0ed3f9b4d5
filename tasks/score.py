"""A version from the registry applied to new rows: read as its training table was, checked, predicted by chunks."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.errors import InputError, NestorError, listed, unknown
from models.table import Reading
from tasks.journal import default_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger("nestor.score")

CHUNK = 50_000
"""Rows that are predicted at once."""
LIBRARIES = (
    "builtins",
    "catboost",
    "collections",
    "datetime",
    "interpret",
    "joblib",
    "lightgbm",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "skrub",
    "xgboost",
)
"""Where a version's classes may come from. A version's own list is no protection: whoever forges one forges both."""


@dataclass(frozen=True)
class Loaded:
    """A version that passed its checks."""

    name: str
    version: int
    model: Any
    facts: dict[str, Any]
    """`nestor.json`."""
    row_keys: Mapping[str, np.ndarray]
    """`trained` and `sealed`: sorted hashes of what the rows were; empty where the version keeps none."""
    profile: dict[str, Any] | None
    """`profile.json`, where the version keeps one."""

    @property
    def reading(self) -> Reading:
        """How the training table was read."""
        known = {f.name for f in fields(Reading)}
        values = {k: v for k, v in self.facts["reading"].items() if k in known}
        return Reading(**{**values, "missing": tuple(values.get("missing", ("",)))})

    @property
    def columns(self) -> list[str]:
        """The features in the order of training."""
        return [c for c, kind in self.facts["kinds"].items() if kind not in ("id", "drop")]


def score(model: str, data: Any, out: str | Path, address: str | None = None) -> int:
    """Writes a prediction for each row of `data` to `out` (csv or parquet); how many. `model` is NAME, NAME@ALIAS or
    NAME/VERSION; NAME alone means its champion, else its newest version."""
    from tasks.data import read_like

    target = _output(out)
    loaded = load(model, address)
    return _written(target, predictions(loaded, read_like(loaded.reading, data)))


def load(model: str, address: str | None = None, tested: bool = False) -> Loaded:
    """The version, once its files are what was registered and hold known types only; `tested`: with the model that its
    numbers speak of, where consumers get one that was fitted once more."""
    from tasks.tracking.store import connect

    client = connect(address or default_address())
    version = find(client, model)
    with tempfile.TemporaryDirectory() as folder:
        return _opened(client, version, Path(folder), tested)


def find(client: MlflowClient, model: str) -> ModelVersion:
    """The version that NAME, NAME@ALIAS or NAME/VERSION names; InputError with the known ones otherwise."""
    name, alias, number = _parts(model)
    versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: -int(v.version))
    if not versions:
        raise _unknown_model(client, name)
    aliases = client.get_registered_model(name).aliases
    if alias is not None and alias not in aliases:
        raise unknown(f"alias of {name}", alias, sorted(aliases))
    wanted = number or aliases.get(alias or "champion") or versions[0].version
    found = [v for v in versions if str(v.version) == str(wanted)]
    if not found:
        raise unknown(f"version of {name}", number, [v.version for v in versions])
    return found[0]


def _parts(model: str) -> tuple[str, str | None, str | None]:
    """Name, alias and version."""
    name, at, alias = model.partition("@")
    name, slash, number = (name, "", "") if at else name.partition("/")
    if not name or "'" in name or (at and not alias) or (slash and not number):
        raise InputError(f"A model is named NAME, NAME@ALIAS or NAME/VERSION, not {model!r}.")
    return name, alias or None, number or None


def _unknown_model(client: MlflowClient, name: str) -> InputError:
    known = sorted(m.name for m in client.search_registered_models())
    near = get_close_matches(name, known, n=5, cutoff=0.5)
    return unknown("model", name, near or known) if known else InputError(f"No model {name!r}: none is registered yet.")


def _opened(client: MlflowClient, version: ModelVersion, folder: Path, tested: bool) -> Loaded:
    import mlflow.artifacts
    import skops.io

    from tasks.register import digest

    label = f"{version.name}/{version.version}"
    where = client.get_model_version_download_uri(version.name, version.version)
    files = Path(mlflow.artifacts.download_artifacts(artifact_uri=where, dst_path=str(folder)))
    if not (files / "nestor.json").exists():
        raise InputError(f"{label} was not registered by Nestor: it does not say how its table was read.")
    if digest(files) != version.tags.get("nestor.digest"):
        raise NestorError(f"The files of {label} are not those that were registered; it is not loaded.")
    facts = json.loads((files / "nestor.json").read_text("utf-8"))
    file = files / ("tested.skops" if tested and (files / "tested.skops").exists() else "model.skops")
    types = _types(file, facts["trusted"], label)
    _warn_of_versions(files / "requirements.txt", label)
    profile = files / "profile.json"
    return Loaded(
        version.name, int(version.version), skops.io.load(file, trusted=types), facts, _row_keys(files),
        json.loads(profile.read_text("utf-8")) if profile.exists() else None,
    )  # fmt: skip


def _row_keys(files: Path) -> dict[str, np.ndarray]:
    if not (files / "row_keys.npz").exists():
        return {}
    with np.load(files / "row_keys.npz", allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def _types(file: Path, listed_types: list[str], label: str) -> list[str]:
    """The types that the file needs; NestorError where one is not in the version's list or of no known library."""
    import skops.io

    found = skops.io.get_untrusted_types(file=file)
    odd = sorted(t for t in found if t not in listed_types or t.split(".")[0] not in LIBRARIES)
    if odd:
        raise NestorError(f"{label} holds types that are not trusted: {listed(odd, width=100)}; it is not loaded.")
    return list(found)


def _warn_of_versions(file: Path, label: str) -> None:
    from tasks.register import installed

    other = [line for line in file.read_text("utf-8").split() if not installed(line)]
    if other:
        log.warning("%s was made with other versions than are installed here: %s", label, listed(other))


# ---------------------------------------------------------------- predicting


def predictions(loaded: Loaded, features: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Chunk by chunk: `prediction`, for classes `probability_<label>`, and `model_version`."""
    absent = [c for c in loaded.columns if c not in features.columns]
    if absent:
        raise InputError(f"The table lacks columns that {loaded.name}/{loaded.version} needs: {listed(absent)}.")
    for start in range(0, max(len(features), 1), CHUNK):
        yield _chunk(loaded, features[loaded.columns].iloc[start : start + CHUNK])


def _chunk(loaded: Loaded, rows: pd.DataFrame) -> pd.DataFrame:
    labels = list(getattr(loaded.model, "classes_", []))
    if rows.empty:
        values, odds = np.array([]), np.empty((0, len(labels)))
    else:
        values = loaded.model.predict(rows)
        odds = loaded.model.predict_proba(rows) if labels else np.empty((len(rows), 0))
    probability = {f"probability_{label}": odds[:, i] for i, label in enumerate(labels)}
    return pd.DataFrame({"prediction": values, **probability}).assign(model_version=loaded.version)


def _output(out: str | Path) -> Path:
    path = Path(out)
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"The output is a .csv or a .parquet file, not {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to write {path.name} to.")
    return path


def _written(path: Path, chunks: Iterator[pd.DataFrame]) -> int:
    """Writes the chunks beside `path` and renames, so that a broken scoring leaves no half file; the rows."""
    whole = pd.concat(chunks, ignore_index=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        whole.to_csv(beside, index=False) if path.suffix == ".csv" else whole.to_parquet(beside, index=False)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return len(whole)
