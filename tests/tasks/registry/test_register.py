"""Registration: what is loaded predicts what was fitted, whoever loads it; one run makes one version."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import skops.io
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from skrub import DatetimeEncoder, StringEncoder
from xgboost import XGBClassifier, XGBRegressor

from models.errors import NestorError
from tasks.registry.register import digest_folder, is_installed, register
from tasks.run.journal import Journal, JournalRecord
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.store import connect_store

TABLES = {
    "binary": (load_breast_cancer, [False, True]),
    "multiclass": (load_wine, ["0.0", "one", "two, or more"]),
    "regression": (load_diabetes, []),
}
KINDS = {"colour": "category", "sold": "boolean", "when": "date", "words": "text"}


def table(task):
    """A shipped table with a column of each kind beside its numbers; some of each are missing."""
    load, labels = TABLES[task]
    numbers, target = load(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    frame = numbers.iloc[:, :4].set_axis(["a", "b (cm)", "ç", "d.e"], axis=1).astype(float)
    frame["colour"] = pd.Series(rng.choice(["red", "green, dark", "blau"], len(frame)), dtype="str")
    frame["sold"] = (numbers.iloc[:, 4] > numbers.iloc[:, 4].median()).astype(float)
    frame["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, len(frame)), unit="min")
    frame["when"] = frame["when"].astype("datetime64[us]")
    frame["words"] = (frame["colour"] + " house number " + (frame.index % 7).astype("str")).astype("str")
    for column in ("a", "colour", "when", "words"):
        frame.loc[rng.choice(len(frame), 9, replace=False), column] = None
    return frame, np.array(labels, dtype=object if task == "multiclass" else None)[target] if labels else target


def family(name, task):
    regression = task == "regression"
    return {
        "lightgbm": (LGBMRegressor if regression else LGBMClassifier)(n_estimators=8, verbosity=-1, n_jobs=1),
        "xgboost": (XGBRegressor if regression else XGBClassifier)(n_estimators=8, n_jobs=1),
        "forest": (RandomForestRegressor if regression else RandomForestClassifier)(n_estimators=5, n_jobs=1),
        "linear": Ridge() if regression else LogisticRegression(max_iter=200),
    }[name]


def columns():
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    text = make_pipeline(StringEncoder(n_components=3, random_state=0), SimpleImputer(), StandardScaler())
    dates = make_pipeline(DatetimeEncoder(resolution="hour", add_weekday=True), SimpleImputer(), StandardScaler())
    parts = [
        ("numbers", numbers, ["a", "b (cm)", "ç", "d.e"]),
        (
            "codes",
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1),
            ["colour"],
        ),
        ("flags", OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False), ["colour"]),
        ("date", dates, "when"),
        ("text", text, "words"),
    ]
    return ColumnTransformer([*parts, ("booleans", "passthrough", ["sold"])])


def bag(task, names, X, y):
    codes = np.unique(y, return_inverse=True)[1] if task != "regression" else y
    fitted = [make_pipeline(columns(), family(n, task)).fit(X, codes) for n in names]
    members = [(n, FrozenEstimator(p)) for n, p in zip(names, fitted, strict=True)]
    if task == "regression":
        return VotingRegressor(members).fit(X, y)
    return VotingClassifier(members, voting="soft").fit(X, y)


def trusted(model, folder):
    skops.io.dump(model, folder / "types.skops")
    return skops.io.get_untrusted_types(file=folder / "types.skops")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    connect_store(f"sqlite:///{folder}/m.db")
    return f"sqlite:///{folder}/m.db"


def mirror_of(workdir, address, name):
    with Journal(workdir, name, address, start=False) as journal:
        journal.record(JournalRecord("run", "pipeline"))
    return MlflowMirror(workdir)


def asked(workdir, model, X, task, **more):
    """The arguments of a registration."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "model.pkl").write_bytes(pickle.dumps(model))
    X.head(30).to_parquet(workdir / "example.parquet")
    kinds = {c: KINDS.get(c, "number") for c in X.columns}
    return {
        "model": str(workdir / "model.pkl"),
        "example": str(workdir / "example.parquet"),
        "kinds": kinds,
        "task": task,
        "classes": TABLES[task][1],
        "reading": {"source": "m.csv", "format": "csv", "kinds": kinds},
        "trusted": trusted(model, workdir),
        "beats_constant": True,
        **more,
    }


def as_served(frame, loaded):
    """The rows after their way through JSON to MLflow's scoring server."""
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    split = json.loads(frame.to_json(orient="split", index=False, date_format="iso", double_precision=15))
    return infer_and_parse_data({"dataframe_split": split}, loaded.metadata.get_input_schema())


def in_pyfunc(address, uri):
    import mlflow.pyfunc

    connect_store(address)
    return mlflow.pyfunc.load_model(uri)


@pytest.mark.parametrize("task", TABLES)
@pytest.mark.parametrize(
    "names", [["lightgbm"], ["xgboost"], ["forest"], ["linear"], ["lightgbm", "xgboost", "linear"]]
)
def test_what_is_loaded_predicts_what_was_fitted(tmp_path, store, task, names):
    X, y = table(task)
    model, name = bag(task, names, X, y), f"{task} {'-'.join(names)}"
    mirror = mirror_of(tmp_path, store, name)
    made = register(mirror, name=name, **asked(tmp_path, model, X, task))
    assert made == {"version": 1, "alias": "champion", "run_id": mirror.run_id(), "model_uri": f"models:/{name}/1"}
    loaded = in_pyfunc(store, made["model_uri"])
    given = X.astype({"sold": bool})
    np.testing.assert_array_equal(loaded.predict(given), model.predict(X))
    # JSON rounds the last digits.
    same = np.testing.assert_allclose if task == "regression" else np.testing.assert_array_equal
    same(loaded.predict(as_served(given, loaded)), model.predict(X))
    if task != "regression":
        assert type(loaded.predict(given)[0]) is type(y[0])
        np.testing.assert_array_equal(loaded.get_raw_model().predict_proba(X), model.predict_proba(X))
    types = {c.name: str(getattr(c.type, "name", c.type)) for c in loaded.metadata.signature.inputs.inputs}
    assert types == dict.fromkeys(["a", "b (cm)", "ç", "d.e", "sold", "colour", "when", "words"], "Any")


def test_numbers_come_as_whole_as_float_and_with_gaps(tmp_path, store):
    X, y = table("regression")
    X["a"] = (X["a"] * 100).round().fillna(0)
    model = bag("regression", ["lightgbm"], X, y)
    made = register(mirror_of(tmp_path, store, "whole"), name="whole", **asked(tmp_path, model, X, "regression"))
    loaded = in_pyfunc(store, made["model_uri"])
    for given in (X, X.astype({"a": "int64", "sold": bool}), X.assign(sold=X["sold"].where(X.index > 3))):
        np.testing.assert_array_equal(loaded.predict(given), model.predict(given))


@pytest.fixture(scope="module")
def small():
    X, y = table("binary")
    return make_pipeline(columns(), LogisticRegression(max_iter=200)).fit(X, y), X


def test_the_version_holds_what_its_reader_needs(tmp_path, store, small):
    model, X = small
    mirror = mirror_of(tmp_path, store, "facts")
    (tmp_path / "tested.pkl").write_bytes(pickle.dumps(model))
    more = {"tested": str(tmp_path / "tested.pkl"), "extra": {"seal": 7}, "metrics": {"estimate": 0.5, "test": None}}
    register(mirror, name="facts", **asked(tmp_path, model, X, "binary", tags={"who": "me"}, **more))
    (version,) = mirror.client.search_model_versions("name = 'facts'")
    folder = _files(mirror.client, version)
    facts = json.loads((folder / "nestor.json").read_text("utf-8"))
    assert (facts["classes"], facts["seal"], facts["reading"]["source"]) == ([False, True], 7, "m.csv")
    assert {k: version.tags[k] for k in ("who", "nestor.estimate", "nestor.placed", "nestor.key")} == {
        "who": "me",
        "nestor.estimate": "0.5",
        "nestor.placed": "true",
        "nestor.key": mirror.run_key,
    }
    assert version.tags["nestor.digest"] == digest_folder(folder)
    named = [line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert named == ["mlflow", "numpy", "pandas", "scikit-learn", "skops", "skrub"]
    assert all(map(is_installed, (folder / "requirements.txt").read_text().split()))
    assert (folder / "tested.skops").exists()
    assert (folder / "input_example.json").exists()
    (output,) = mirror.client.get_run(mirror.run_id()).outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    assert list(tmp_path.glob("model*")) == [tmp_path / "model.pkl"]


def _files(client, version):
    from pathlib import Path

    import mlflow.artifacts

    return Path(
        mlflow.artifacts.download_artifacts(client.get_model_version_download_uri(version.name, version.version))
    )


@pytest.mark.parametrize(
    "stop",
    [
        "log_model_artifacts",
        "finalize_logged_model",
        "create_model_version",
        "set_registered_model_alias",
        "set_model_version_tag",
    ],
)
def test_a_registration_killed_anywhere_and_done_again_makes_one_version(tmp_path, store, small, monkeypatch, stop):
    model, X = small
    mirror, name = mirror_of(tmp_path, store, stop), stop
    arguments = asked(tmp_path, model, X, "binary", beats_constant=True)
    with monkeypatch.context() as patch:
        patch.setattr(type(mirror.client), stop, lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            register(mirror, name=name, **arguments)
    first = register(MlflowMirror(tmp_path), name=name, **arguments)
    assert first == register(mirror, name=name, **arguments)
    assert (first["version"], first["alias"]) == (1, "champion")
    assert len(mirror.client.search_model_versions(f"name = '{name}'")) == 1
    assert len(mirror.client.search_logged_models([mirror.experiment_id])) == 1


def test_the_first_that_beats_the_constant_is_champion_and_the_later_challenge_it(tmp_path, store, small):
    model, X = small
    made = []
    for n, beats in enumerate([False, True, True, False]):
        mirror = mirror_of(tmp_path / str(n), store, "alias")
        made.append(
            register(mirror, name="alias", **asked(tmp_path / str(n), model, X, "binary", beats_constant=beats))
        )
    assert [m["alias"] for m in made] == [None, "champion", "challenger", "challenger"]
    aliases = connect_store(store).get_registered_model("alias").aliases
    assert {k: int(v) for k, v in aliases.items()} == {"champion": 2, "challenger": 4}


def test_types_that_no_family_names_are_refused(tmp_path, store, small):
    model, X = small
    mirror = mirror_of(tmp_path, store, "odd")
    arguments = asked(tmp_path, model, X, "binary")
    with pytest.raises(NestorError, match=r"not name as trusted: .*skrub"):
        register(mirror, name="odd", **{**arguments, "trusted": []})
    ours = make_pipeline(FunctionTransformer(is_installed), LogisticRegression())
    with pytest.raises(NestorError, match=r"not name as trusted: tasks.registry.register.is_installed"):
        register(mirror, name="odd", **asked(tmp_path, ours, X, "binary"))
    assert mirror.client.search_model_versions("name = 'odd'") == []


def test_a_registration_through_the_journal_makes_a_version(tmp_path, store, small):
    model, X = small
    with Journal(tmp_path, "quick", store) as journal:
        journal.record(JournalRecord("run", "pipeline", status="FINISHED"))
        journal.call("prepare")
        made = journal.call("register", name="quick", **asked(tmp_path, model, X, "binary"))
    assert made["version"] == 1


def test_mlflow_is_not_left_to_infer_requirements(tmp_path, store, small, monkeypatch):
    """It would load the model in a fresh process to see what it imports, which takes some 15 s."""
    model, X = small
    monkeypatch.setattr("mlflow.models.infer_pip_requirements", lambda *a, **k: 1 / 0)
    made = register(mirror_of(tmp_path, store, "known"), name="known", **asked(tmp_path, model, X, "binary"))
    assert made["version"] == 1


@pytest.mark.prove
def test_a_fresh_environment_with_the_models_own_requirements_predicts_the_same(tmp_path, store):
    X, y = table("multiclass")
    model = bag("multiclass", ["lightgbm", "xgboost"], X, y)
    mirror = mirror_of(tmp_path, store, "fresh")
    register(mirror, name="fresh", **asked(tmp_path, model, X, "multiclass"))
    folder = _files(mirror.client, mirror.client.search_model_versions("name = 'fresh'")[0])
    quiet = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, tmp_path / "venv"], env=quiet, check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        ["uv", "pip", "install", "-q", "--python", python, "-r", folder / "requirements.txt"], env=quiet, check=True
    )
    X.astype({"sold": bool}).to_parquet(tmp_path / "new.parquet")
    code = (
        "import sys, mlflow, pandas as pd; m = mlflow.pyfunc.load_model(sys.argv[1]); x = pd.read_parquet(sys.argv[2]);"
    )
    code += "pd.DataFrame({'p': m.predict(x)}).to_csv(sys.argv[3]); assert 'tasks' not in sys.modules"
    subprocess.run(
        [python, "-P", "-c", code, folder, tmp_path / "new.parquet", tmp_path / "out.csv"],
        env=quiet,
        cwd=tmp_path,
        check=True,
    )
    assert list(pd.read_csv(tmp_path / "out.csv", dtype=str)["p"]) == list(model.predict(X))
