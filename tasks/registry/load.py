"""A version from the registry, checked and loaded.

Whoever can write artifacts can put anything into a version's folder. Two things are not theirs: the digest, which is in
the registry, and the list of types, which is in this installation. A version is loaded from a copy of its own, once
both fit. A pickle has no list: it is loaded only where a person says so."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from models.columns import TRUSTED
from models.data.history import History
from models.data.table import Reading
from models.errors import InputError, NestorError, join_names, make_unknown_error
from models.evaluation import calibration
from models.evaluation.conformal import ConformalScores
from models.families import load_families
from models.monitoring.table_profile import WIDTH
from tasks.data.spelled import Levels, Speller
from tasks.registry import conformal_file, pickles, signing
from tasks.run.journal import find_default_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger("nestor.score")
T = TypeVar("T")


@dataclass(frozen=True)
class LoadedVersion:
    """A version that passed its checks."""

    name: str
    version: int
    model: Any
    facts: dict[str, Any]
    """`nestor.json`."""
    run_id: str
    """The run that made it."""
    digest: str
    """Of its files, as the registry keeps it."""
    row_keys: Mapping[str, np.ndarray]
    """`trained` and `sealed`: sorted hashes of what the rows were; empty where the version keeps none."""
    profile: dict[str, Any] | None
    """`profile.json`, where the version keeps one."""
    conformal: ConformalScores | None = None
    """The scores of outer rows, where the version keeps them."""

    @property
    def label(self) -> str:
        """`loans/3`."""
        return f"{self.name}/{self.version}"

    @property
    def unsafe(self) -> list[str]:
        """The families in it that skops can't hold; none where the model is no pickle."""
        return self.facts.get("unsafe", [])

    @property
    def reading(self) -> Reading:
        """How the training table was read."""
        names = {f.name for f in fields(Reading)}
        values = {k: v for k, v in self.facts["reading"].items() if k in names}
        return Reading(**{**values, "missing": tuple(values.get("missing", ("",)))})

    @property
    def columns(self) -> list[str]:
        """What the model takes, in the order of training: the features, or what was made of them."""
        return list(self.facts["kinds"])

    @property
    def levels(self) -> Levels:
        """Category -> its levels in training; where an older version keeps a profile of them all, that profile's."""
        return _read_levels(self.profile or {})

    def make_speller(self) -> Speller:
        """What reads later rows' categories as this version spells them."""
        return Speller(self.levels)

    @property
    def history(self) -> History | None:
        """What the past of a series becomes; None where the model is a function of one row."""
        settings = self.facts.get("history")
        return None if settings is None else History.from_json(settings)

    @property
    def stamp(self) -> dict[str, str]:
        """What a file of predictions says of where they come from."""
        return {
            "nestor.model": self.name,
            "nestor.version": str(self.version),
            "nestor.run_id": self.run_id,
            "nestor.digest": self.digest,
        }


def load_version(model: str, address: str | None = None, tested: bool = False, unsafe: bool = False) -> LoadedVersion:
    """The version, once its files are what was registered and hold known types only; `tested`: with the model that its
    numbers speak of, where consumers get one that was fitted once more; `unsafe`: a pickle may be loaded too."""
    from tasks.tracking.store import connect_store

    client = connect_store(address or find_default_address())
    version = find_version(client, model)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return _open_version(client, version, Path(folder), tested, unsafe)


def find_version(client: MlflowClient, model: str) -> ModelVersion:
    """The version that NAME, NAME@ALIAS or NAME/VERSION names; InputError with the known ones otherwise."""
    name, alias, number = _split_name(model)
    versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda v: -int(v.version))
    if not versions:
        raise _make_unknown_model_error(client, name)
    aliases = client.get_registered_model(name).aliases
    if alias is not None and alias not in aliases:
        raise make_unknown_error(f"alias of {name}", alias, sorted(aliases))
    target = number or aliases.get(alias or "champion") or versions[0].version
    matches = [v for v in versions if str(v.version) == str(target)]
    if not matches:
        raise make_unknown_error(f"version of {name}", number, [v.version for v in versions])
    return matches[0]


def _read_levels(profile: Mapping[str, Any]) -> Levels:
    """The levels of a version's categories: of an older one those that its profile holds whole."""
    columns: Mapping[str, Any] = profile.get("columns", {})
    categories = {name: c["levels"] for name, c in columns.items() if c["kind"] == "category"}
    levels = {
        name: values for name, values in categories.items()
        if len(values) == columns[name]["distinct"] and max(map(len, values), default=0) < WIDTH
    }  # fmt: skip
    return profile.get("levels") or levels


def _split_name(model: str) -> tuple[str, str | None, str | None]:
    """Name, alias and version."""
    name, sign, alias = model.partition("@")
    name, slash, number = (name, "", "") if sign else name.partition("/")
    if not name or "'" in name or (sign and not alias) or (slash and not number):
        raise InputError(f"A model is named NAME, NAME@ALIAS or NAME/VERSION, not {model!r}.")
    return name, alias or None, number or None


def _make_unknown_model_error(client: MlflowClient, name: str) -> InputError:
    names = sorted(m.name for m in client.search_registered_models())
    return (
        make_unknown_error("model", name, names) if names else InputError(f"No model {name!r}: none is registered yet.")
    )


def _open_version(
    client: MlflowClient, version: ModelVersion, folder: Path, tested: bool, unsafe: bool
) -> LoadedVersion:
    label = f"{version.name}/{version.version}"
    from tasks.registry.register import META

    files = _copy_files(client, version, folder, label)
    digest = _check_digest(files, version, label)
    (files / META).unlink(missing_ok=True)
    signing.verify_signature(files, label)
    part = partial(_read_part, files, label)
    facts = part("nestor.json", _read_facts)
    model = part(_find_model_file(files, tested), lambda file: _load_model(file, facts, unsafe, label))
    part("requirements.txt", lambda file: _warn_of_versions(file, label))
    return LoadedVersion(
        version.name, int(version.version), model, facts, version.run_id or "", digest,
        part("row_keys.npz", _read_row_keys), part("profile.json", _read_profile),
        part(conformal_file.FILE, lambda file: conformal_file.read_conformal(file.parent)),
    )  # fmt: skip


def _read_part(files: Path, label: str, name: str, reader: Callable[[Path], T]) -> T:
    """What `reader` makes of a file of the version; NestorError that names the file where it is missing or broken."""
    try:
        return reader(files / name)
    except NestorError:
        raise
    except Exception as error:  # what a broken file makes a library raise may be anything
        log.warning("%s of %s", name, label, exc_info=error)
        problem = f"its file {name} can't be read" if (files / name).exists() else f"it has no file {name}"
        raise NestorError(
            f"{label} is damaged: {problem}; it is not loaded. Use another version, or register the model anew."
        ) from error


def _read_facts(file: Path) -> dict[str, Any]:
    """What `nestor.json` says; ValueError where it says too little."""
    facts = json.loads(file.read_text("utf-8"))
    if not isinstance(facts, dict) or not facts.keys() >= {"task", "classes", "kinds", "reading"}:
        raise ValueError(f"{file.name} is not what Nestor writes")
    return facts


def _read_profile(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text("utf-8")) if file.exists() else None


def _find_model_file(files: Path, tested: bool) -> str:
    """The name of the file with the fitted object, whether it is there or not."""
    names = [f"{name}{form}" for name in ("tested", "model")[not tested :] for form in (".skops", pickles.FORM)]
    return next((name for name in names if (files / name).exists()), "model.skops")


def _load_model(file: Path, facts: Mapping[str, Any], unsafe: bool, label: str) -> Any:
    """The fitted object in a version's file."""
    if file.suffix == ".skops":
        import skops.io

        from tasks.registry.register import check_types

        return skops.io.load(
            file, trusted=check_types(file, list_known_types(), lambda names: _explain_strange_types(label, names))
        )
    if not unsafe:
        raise pickles.make_refusal_error(label, facts.get("unsafe", []))
    return pickles.load_pickle(file, label, facts.get("unsafe", []))


def _copy_files(client: MlflowClient, version: ModelVersion, folder: Path, label: str) -> Path:
    """A copy of the version's files: what is checked is what is loaded, whatever happens to the store meanwhile."""
    import mlflow.artifacts

    from tasks.tracking.store import describe_error

    uri = client.get_model_version_download_uri(version.name, version.version)
    try:
        files = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except Exception as error:
        raise NestorError(f"The files of {label} can't be had: {describe_error(error)}") from error
    # Where a consumer loaded `code/` from the store itself, Python has left its compiled form there.
    for cache in files.rglob("__pycache__"):
        shutil.rmtree(cache)
    return files


def _check_digest(files: Path, version: ModelVersion, label: str) -> str:
    """The digest of the files, once it is the one that the registry has kept since they were registered."""
    from tasks.registry.register import digest_folder

    tag = version.tags.get("nestor.digest")
    if tag is None and not (files / "nestor.json").exists():
        raise InputError(f"{label} was not registered by Nestor: it does not say how its table was read.")
    if tag is None:
        raise NestorError(
            f"The registry keeps no digest of {label} (the tag nestor.digest is gone), so its files can't be checked; "
            "it is not loaded. Register the model anew, or use another version."
        )
    if (digest := digest_folder(files)) != tag:
        raise NestorError(
            f"The files of {label} are not those that were registered: their digest is {digest[:12]}…, the registry's "
            f"{tag[:12]}…; it is not loaded. Find out who changed them, and use another version."
        )
    return digest


def _read_row_keys(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _explain_strange_types(label: str, names: str) -> str:
    """Why a version with types that are not known here is not loaded."""
    return (
        f"{label} holds types that no family of this installation names: {names}; it is not loaded. If the model is "
        "yours, install the family that made it."
    )


def list_known_types() -> set[str]:
    """What a version may hold, whatever its own list says: whoever forges a model forges its list."""
    return {*TRUSTED, *calibration.TRUSTED, *(t for family in load_families().values() for t in family.trusted)}


def _warn_of_versions(file: Path, label: str) -> None:
    from tasks.registry.register import is_installed

    requirements = [line for line in file.read_text("utf-8").split() if not is_installed(line)]
    if requirements:
        log.warning("%s was made with other versions than are installed here: %s", label, join_names(requirements))
