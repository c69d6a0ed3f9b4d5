"""Scoring: new rows read as the training table was, by the version that was asked for, if it is what was registered."""

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from models.config import Run
from models.errors import InputError, NestorError
from tasks.data import read
from tasks.journal import Journal, Record
from tasks.register import register
from tasks.score import find, load, predictions, score
from tasks.tracking.mirror import Mirror
from tasks.tracking.store import connect


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store with the model `wine` in two versions and the model `sugar`, and the tables they came from."""
    folder = tmp_path_factory.mktemp("world")
    address = f"sqlite:///{folder}/m.db"
    made = wine(folder)
    for n in range(2):
        registered(folder / f"wine{n}", address, "wine", *made)
    registered(folder / "sugar", address, "sugar", *sugar(folder))
    return folder, address, made


def wine(folder):
    frame = load_wine(as_frame=True).frame.iloc[:, [0, 1, 2, -1]].round(3)
    frame["price"] = [f"{v * 1000:,.1f}" for v in frame["alcohol"]]
    frame["colour"] = np.where(frame["ash"] > 2.3, "rouge", "blanc")
    frame.loc[::9, "colour"] = ""
    frame["target"] = np.array(["01", "02", "x, y"])[frame["target"]]
    frame.to_csv(folder / "wine.csv", index=False)
    table = read(Run(data=str(folder / "wine.csv"), target="target"))
    numbers = [c for c, kind in table.kinds.items() if kind == "number"]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("n", "passthrough", numbers), ("c", codes, ["colour"])])
    one = make_pipeline(columns, LGBMClassifier(n_estimators=9, verbosity=-1, n_jobs=1)).fit(
        table.features, table.target
    )
    labels = np.array(table.classes, dtype=object)[table.target]
    model = VotingClassifier([("one", FrozenEstimator(one))], voting="soft").fit(table.features, labels)
    return model, table


def sugar(folder):
    load_diabetes(as_frame=True).frame.to_csv(folder / "sugar.csv", index=False)
    table = read(Run(data=str(folder / "sugar.csv"), target="target"))
    return make_pipeline(ColumnTransformer([("n", "passthrough", list(table.features))]), Ridge()).fit(
        table.features, table.target
    ), table


def registered(workdir, address, name, model, table):
    with Journal(workdir, name, address, start=False) as journal:
        journal.record(Record("run", "pipeline", status="FINISHED"))
    joblib.dump(model, workdir / "model.joblib")
    table.features.head().to_parquet(workdir / "example.parquet")
    skops.io.dump(model, workdir / "types.skops")
    return register(
        Mirror(workdir),
        name=name,
        model=str(workdir / "model.joblib"),
        example=str(workdir / "example.parquet"),
        kinds=table.kinds,
        task=table.task,
        classes=table.classes,
        reading=vars(table.reading),
        trusted=skops.io.get_untrusted_types(file=workdir / "types.skops"),
        beats_constant=True,
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_round_trip_gives_the_models_own_predictions(world, tmp_path, suffix):
    folder, address, (model, table) = world
    out = tmp_path / f"out.{suffix}"
    assert score("wine", str(folder / "wine.csv"), out, address) == 178
    back = pd.read_csv(out, dtype={"prediction": str}) if suffix == "csv" else pd.read_parquet(out)
    assert list(back) == ["prediction", "probability_01", "probability_02", "probability_x, y", "model_version"]
    assert list(back["prediction"]) == list(model.predict(table.features))
    np.testing.assert_allclose(back.iloc[:, 1:4], model.predict_proba(table.features), rtol=1e-12)
    assert set(back["model_version"]) == {1}
    assert list(tmp_path.iterdir()) == [out]


def test_regression_gives_predictions_alone(world, tmp_path):
    folder, address, _ = world
    score("sugar", pd.read_csv(folder / "sugar.csv"), tmp_path / "out.csv", address)
    back = pd.read_csv(tmp_path / "out.csv")
    assert list(back) == ["prediction", "model_version"]
    assert np.corrcoef(back["prediction"], pd.read_csv(folder / "sugar.csv")["target"])[0, 1] > 0.6


def test_columns_may_come_in_another_order_with_others_and_unseen_levels(world):
    _, address, (model, table) = world
    loaded = load("wine", address)
    shuffled = table.features.iloc[:5, ::-1].assign(more=1)
    shuffled["colour"] = pd.Series(["grün"] * 5, dtype="str")
    (chunk,) = predictions(loaded, shuffled)
    assert list(chunk["prediction"]) == list(model.predict(shuffled[list(table.features)]))


def test_chunks_join_to_the_whole(world, monkeypatch):
    _, address, (model, table) = world
    monkeypatch.setattr("tasks.score.CHUNK", 50)
    chunks = list(predictions(load("wine", address), table.features))
    assert [len(c) for c in chunks] == [50, 50, 50, 28]
    assert list(pd.concat(chunks)["prediction"]) == list(model.predict(table.features))


def test_no_rows_give_no_predictions(world):
    _, address, (_, table) = world
    (chunk,) = predictions(load("wine", address), table.features.iloc[:0])
    assert (len(chunk), list(chunk)[:2]) == (0, ["prediction", "probability_01"])


@pytest.mark.parametrize(
    ("asked", "version"), [("wine", 1), ("wine@champion", 1), ("wine@challenger", 2), ("wine/2", 2)]
)
def test_names_find_their_version(world, asked, version):
    assert int(find(connect(world[1]), asked).version) == version


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("wien", r"No model 'wien'. Known: wine\."),
        ("zzz", r"No model 'zzz'. Known: sugar, wine\."),
        ("wine@best", r"No alias of wine 'best'. Known: challenger, champion\."),
        ("wine/7", r"No version of wine '7'. Known: 2, 1\."),
        ("wine@", "NAME, NAME@ALIAS or NAME/VERSION, not 'wine@'"),
        ("o'clock", "NAME, NAME@ALIAS or NAME/VERSION"),
        ("", "NAME, NAME@ALIAS or NAME/VERSION"),
    ],
)
def test_what_is_not_there_is_named(world, asked, message):
    with pytest.raises(InputError, match=message):
        find(connect(world[1]), asked)


def test_outputs_that_cannot_be_written_are_refused_first(world, tmp_path):
    folder, address, _ = world
    with pytest.raises(InputError, match=r"a \.csv or a \.parquet file, not 'out.txt'"):
        score("wine", str(folder / "wine.csv"), tmp_path / "out.txt", address)
    with pytest.raises(InputError, match="There is no folder"):
        score("wine", str(folder / "wine.csv"), tmp_path / "none" / "out.csv", address)


def test_a_lacking_column_is_named(world):
    _, address, (_, table) = world
    with pytest.raises(InputError, match="lacks columns that wine/1 needs: price, colour"):
        list(predictions(load("wine", address), table.features.drop(columns=["price", "colour"])))


def test_files_that_were_changed_are_not_loaded(world, tmp_path):
    _, address, made = world
    registered(tmp_path / "w", address, "forged", *made)
    version = find(connect(address), "forged")
    place = Path(connect(address).get_model_version_download_uri("forged", version.version).removeprefix("file://"))
    (place / "registered_model_meta").write_text("MLflow writes this")
    assert load("forged", address).version == 1
    (place / "nestor.json").write_text((place / "nestor.json").read_text("utf-8") + " ")
    with pytest.raises(NestorError, match="files of forged/1 are not those that were registered"):
        load("forged", address)


def test_types_of_unknown_modules_are_not_loaded(world, monkeypatch):
    monkeypatch.setattr("tasks.score.LIBRARIES", ("sklearn", "collections"))
    with pytest.raises(NestorError, match=r"types that are not trusted: lightgbm.basic.Booster.*not loaded"):
        load("wine", world[1])


def test_a_version_of_another_tool_is_named(world, tmp_path):
    client = connect(world[1])
    client.create_registered_model("foreign")
    (tmp_path / "MLmodel").write_text("")
    client.create_model_version("foreign", tmp_path.as_uri())
    with pytest.raises(InputError, match="foreign/1 was not registered by Nestor"):
        load("foreign", world[1])


def test_nothing_is_written_on_the_screen(world, tmp_path):
    folder, address, _ = world
    code = "import sys; from tasks.score import score; from tasks.tracking import runs; score(*sys.argv[1:]);"
    code += "runs(None, sys.argv[4])"
    arguments = ["wine", str(folder / "wine.csv"), str(tmp_path / "out.csv"), address]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
