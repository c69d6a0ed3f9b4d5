"""A fitted pipeline becomes a version in the registry: a model of library classes only, a signature, an example, exact
requirements, how the table was read, and aliases. It runs inside the tracker's process (`Journal.call`).

A model that skops can't hold is pickled, and marked (`tasks/registry/pickles.py`): files then end in .pkl.

Whoever loads the version needs nothing of ours installed: `mlflow.pyfunc.load_model(uri).predict(frame)` gives labels
in their own form, with `params={"predict_method": "predict_proba"}` their probabilities. A version's folder holds
besides MLflow's files

    nestor.json     the reading, the kinds, task, classes, trusted types and what the caller adds
    tested.skops    the model that every number speaks of, where the delivered one was fitted once more with more rows
    row_keys.npz    64-bit hashes of what the rows were: `trained` those of the tested model, `sealed` the sealed ones;
                    `made_of`: the columns that were hashed
    profile.json    what the training table looked like: what `watch` compares later rows with
    code/           three of our files as a package: they read rows as the training table was read (served.py)
    model.sig       the signature of all others, where the environment names a key (`tasks/registry/signing.py`)
    conformal.json  how far off the predictions of outer rows were: what intervals and sets are made of
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import pickle
import shutil
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.dummy import DummyClassifier

from models.data import history, spelling
from models.errors import NestorError, join_names
from tasks.registry import pickles, signing
from tasks.registry.new_version import NewVersion
from tasks.tracking import moves
from tasks.tracking.mirror import described
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.store import lock_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model, ModelSignature

_SHOWN = ("estimate", "test")
"""Numbers that a version has as tags too; `nestor.json` in it, and the run, have all."""
ALWAYS = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")
OURS = ("flows", "tasks", "models", "__main__")
CARRIED = (history, spelling)
"""Modules that `served.py` needs: a version carries them beside it."""
_PLACED = "nestor.placed"
"""A tag of versions that were given the alias that was due to them."""
META = "registered_model_meta"
"""MLflow writes this file into the folder of whatever version it loads."""


def prepare(mirror: MlflowMirror) -> None:
    """Imports what `register` needs: four seconds that may pass while models are still being fitted."""
    for module in ("mlflow.sklearn", "skops.io"):
        importlib.import_module(module)


def register(mirror: MlflowMirror, **values: Any) -> dict[str, Any]:
    """The registered version: version, alias (None where it is no better than a constant), run_id, model_uri.

    `values` are those of a `NewVersion`. Called again for the same pipeline run (a resume) it finds the version it
    made."""
    new = NewVersion(**values)
    client, run_id = mirror.client, mirror.run_id()
    with lock_store(mirror.address):
        version = _find_registered(client, new.name, mirror.run_key) or _create_version(mirror, run_id, new)
        alias = _set_alias(client, version, new.beats_constant)
    return {
        "version": int(version.version),
        "alias": alias,
        "run_id": run_id,
        "model_uri": f"models:/{new.name}/{version.version}",
    }


def _find_registered(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """The version that this pipeline run made before it was stopped."""
    versions = client.search_model_versions(f"name = '{name}' and tags.`nestor.key` = '{key}'")
    return versions[0] if versions else None


# ---------------------------------------------------------------- the folder


def _save_version(new: NewVersion, folder: Path, identity: Model) -> str:
    """Writes the version's folder; its digest."""
    from mlflow.sklearn import save_model
    from mlflow.utils.file_utils import get_total_file_size

    model, rows, facts = _load(new.model), pd.read_parquet(new.example), new.facts
    shutil.rmtree(folder, ignore_errors=True)
    ending = pickles.FORM if new.unsafe else ".skops"
    dumped = folder.with_name(f"model{ending}")
    form, code = _dump_model(model, dumped, facts), _write_code(folder.parent)
    # MLflow would write the model once more and read it: it is given one that is small, and ours takes its place.
    save_model(
        DummyClassifier(),
        str(folder),
        mlflow_model=identity,
        signature=make_signature(rows, facts),
        input_example=_make_example(rows),
        metadata={"nestor": {"task": new.task}},
        code_paths=[str(code)],
        **form,
    )
    shutil.move(dumped, folder / identity.flavors["sklearn"]["pickled_model"])
    identity.model_size_bytes = get_total_file_size(folder)
    # MLflow then hands rows to the class in that file, which makes of them what the model takes.
    identity.flavors["python_function"]["loader_module"] = f"{code.name}.served"
    identity.save(str(folder / "MLmodel"))
    if new.tested is not None:
        _dump_model(_load(new.tested), folder / f"tested{ending}", facts)
    for path in map(Path, new.beside):
        shutil.copyfile(path, folder / path.name)
    (folder / "nestor.json").write_text(json.dumps(facts, indent=1, default=str, ensure_ascii=False), "utf-8")
    signing.sign_folder(folder)
    return digest_folder(folder)


def _load(file: str) -> Any:
    """The fitted object that the run has written down."""
    return pickle.loads(Path(file).read_bytes())


def _write_code(folder: Path) -> Path:
    """A package in that folder of the files that read rows for a version. Its name tells what they hold: a service may
    load versions of two Nestors side by side."""
    paths = [Path(__file__).with_name("served.py"), *(Path(str(module.__file__)) for module in CARRIED)]
    sources = {path.name: path.read_text("utf-8") for path in paths}
    package = folder / f"nestor_{hashlib.sha256(repr(sources).encode()).hexdigest()[:12]}"
    package.mkdir(exist_ok=True)
    for name, text in {**sources, "__init__.py": ""}.items():
        (package / name).write_text(text.replace("from models.data.", f"from {package.name}."), "utf-8")
    return package


def _dump_model(model: Any, file: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the model, and says of its form what MLflow has to know; NestorError where it holds what it must not.

    Without requirements MLflow would load the model in a fresh process to see what it imports: 15 s."""
    if facts["unsafe"]:
        pickles.dump_pickle(model, file)
        return {
            "serialization_format": "pickle",
            "pip_requirements": list_requirements(_refuse_own_modules(pickles.find_pickle_modules(file))),
        }
    from tasks.registry.skops_file import dump_skops

    schema = dump_skops(model, file)
    types = check_types(file, facts["trusted"], _explain_untrusted)
    requirements = list_requirements(_find_modules(schema))
    return {"serialization_format": "skops", "skops_trusted_types": types, "pip_requirements": requirements}


def _refuse_own_modules(modules: set[str]) -> set[str]:
    """The modules as they are; NestorError where a consumer would need our own."""
    if names := sorted(modules.intersection(OURS)):
        raise NestorError(f"The model holds types of {join_names(names)}: who loads it would need this project.")
    return modules


def check_types(file: Path, allowed: Collection[str], refusal: Callable[[str], str]) -> list[str]:
    """The types in a skops file beyond those that skops trusts; NestorError, as `refusal` says it of their names, where
    some are not allowed or are ours."""
    import skops.io

    types = sorted(skops.io.get_untrusted_types(file=file))
    if names := [t for t in types if t not in allowed or t.split(".")[0] in OURS]:
        raise NestorError(refusal(join_names(names, width=100)))
    return types


def _explain_untrusted(names: str) -> str:
    """Why a model with types that its families do not name is not registered."""
    return f"The model holds types that its families do not name as trusted: {names}."


def list_requirements(modules: set[str]) -> list[str]:
    """Exact versions of the distributions that these top-level modules come from, and of those that load a model."""
    owners = _map_distributions()
    distributions = {owners[m][0] for m in modules if m in owners} | set(ALWAYS)
    return [f"{n}=={_to_public_version(importlib.metadata.version(n))}" for n in sorted(distributions)]


def _to_public_version(version: str) -> str:
    """The version without what names a build of it: `2.13.0+cpu` is in no registry."""
    return version.partition("+")[0]


@cache
def _map_distributions() -> Mapping[str, list[str]]:
    """The distributions that each top-level module comes from: half a second of reading."""
    return importlib.metadata.packages_distributions()


def _find_modules(node: Any) -> set[str]:
    """Top-level modules of every class in a skops schema."""
    if isinstance(node, list):
        return set().union(*map(_find_modules, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    modules = {node["__module__"].split(".")[0]} if isinstance(node.get("__module__"), str) else set()
    return modules.union(*(_find_modules(v) for v in node.values()))


def _make_example(rows: pd.DataFrame) -> pd.DataFrame:
    """A few rows as an input example: what is missing in text is None, since JSON has no NaN."""
    sample = rows.head(5).reset_index(drop=True)
    text = sample.select_dtypes(include=["object", "string"]).columns
    return sample.assign(**{c: sample[c].astype(object).where(sample[c].notna(), None) for c in text})


def make_signature(rows: pd.DataFrame, facts: Mapping[str, Any]) -> ModelSignature:
    """The columns, all required, and what is to be predicted: `predict_method`.

    Columns are `any`: MLflow's `double` refuses int64, its `long` a missing value, its `string` a categorical, its
    `datetime` a zone, and reads milliseconds as nanoseconds. The version's own file takes them all (served.py)."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name=c) for c in rows.columns]
    method = ParamSchema([ParamSpec("predict_method", "string", "predict")])
    return ModelSignature(Schema(columns), Schema([ColSpec(_choose_label_type(facts["classes"]))]), method)


def _choose_label_type(classes: Sequence[Any]) -> str:
    kinds = {bool: "boolean", int: "long", float: "double"}
    return kinds.get(type(classes[0]), "string") if classes else "double"


def digest_folder(folder: Path) -> str:
    """sha256 over names and content of the files in a version's folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != META):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


# ---------------------------------------------------------------- the registry


def _create_version(mirror: MlflowMirror, run_id: str, new: NewVersion) -> ModelVersion:
    """A new version of the folder. Its tags come with it in one transaction, so that a kill leaves all or nothing."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    client, key_tags, folder = mirror.client, {"nestor.key": mirror.run_key}, mirror.workdir / "model"
    _drop_halves(mirror)
    entry = client.create_logged_model(mirror.experiment_id, name="model", source_run_id=run_id, tags=key_tags)
    identity = Model(entry.artifact_location, run_id, model_uuid=entry.model_id, model_id=entry.model_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digest = _save_version(new, folder, identity)
    client.log_model_artifacts(entry.model_id, str(folder))
    client.finalize_logged_model(entry.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, step=0)])
    shutil.rmtree(folder, ignore_errors=True)
    _ensure_model(client, new.name)
    numbers = {f"nestor.{k}": f"{v:.6g}" for k, v in new.metrics.items() if v is not None and k in _SHOWN}
    marks, reason = ({pickles.TAG: "true"}, pickles.explain_pickle(new.unsafe)) if new.unsafe else ({}, "")
    tags = {**new.tags, **numbers, **key_tags, **marks, "nestor.digest": digest}
    return client.create_model_version(
        new.name, f"models:/{entry.model_id}", run_id, tags=tags,
        model_id=entry.model_id, description="\n\n".join(part for part in (reason, new.description) if part) or None,
    )  # fmt: skip


def _drop_halves(mirror: MlflowMirror) -> None:
    """Removes what a killed registration of this run had uploaded."""
    query = f"tags.`nestor.key` = '{mirror.run_key}'"
    for entry in mirror.client.search_logged_models([mirror.experiment_id], query):
        mirror.client.delete_logged_model(entry.model_id)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=described.describe_model(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if not client.get_registered_model(name).description:
            client.update_registered_model(name, described.describe_model(name))


def _set_alias(client: MlflowClient, version: ModelVersion, beats_constant: bool) -> str | None:
    """Gives the version its alias, once: it may have been promoted or beaten since. A pickle only challenges. What is
    champion or challenger today is said by MLflow's aliases alone: no tag repeats it."""
    if _PLACED in version.tags:
        aliases = client.get_model_version(version.name, version.version).aliases
        return next((alias for alias in ("champion", "challenger") if alias in aliases), None)
    champion = client.get_registered_model(version.name).aliases.get("champion")
    alias = _choose_alias(str(version.version), str(champion) if champion else None, beats_constant)
    if alias == "champion" and pickles.TAG in version.tags:
        alias = "challenger"
    if alias == "champion" and not champion:
        reason = "The first version that is better than a constant prediction."
        moves.move_champion(client, version.name, int(version.version), "first", moves.whoami(), reason, "register")
    elif alias == "challenger":
        client.set_registered_model_alias(version.name, alias, version.version)
    client.set_model_version_tag(version.name, version.version, _PLACED, "true")
    return alias


def _choose_alias(version: str, champion: str | None, beats_constant: bool) -> str | None:
    """The first version that beats the constant is the champion; whoever comes later challenges it."""
    if champion in (None, version):
        return "champion" if beats_constant else None
    return "challenger"


def is_installed(requirement: str) -> bool:
    """Whether exactly that version is installed here."""
    name, _, version = requirement.strip().partition("==")
    try:
        return _to_public_version(importlib.metadata.version(name)) == version
    except importlib.metadata.PackageNotFoundError:
        return False
