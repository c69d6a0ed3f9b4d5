"""Scoring: new rows read as the training table was, by the version that was asked for, if it is what was registered."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from models.config import Run, Score
from models.errors import InputError, NestorError
from tasks.data import read_table
from tasks.data.chunks import Chunk
from tasks.registry.load import find_version, list_known_types, load_version
from tasks.registry.register import digest_folder, register
from tasks.run.journal import Journal, JournalRecord
from tasks.scoring.predict import predict_chunks
from tasks.scoring.score import score
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.store import connect_store
from tests import stack


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
    table = read_table(Run(data=str(folder / "wine.csv"), target="target"))
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
    table = read_table(Run(data=str(folder / "sugar.csv"), target="target"))
    return make_pipeline(ColumnTransformer([("n", "passthrough", list(table.features))]), Ridge()).fit(
        table.features, table.target
    ), table


def registered(workdir, address, name, model, table):
    with Journal(workdir, name, address, start=False) as journal:
        journal.record(JournalRecord("run", "pipeline", status="FINISHED"))
    (workdir / "model.pkl").write_bytes(pickle.dumps(model))
    table.features.head().to_parquet(workdir / "example.parquet")
    skops.io.dump(model, workdir / "types.skops")
    return register(
        MlflowMirror(workdir),
        name=name,
        model=str(workdir / "model.pkl"),
        example=str(workdir / "example.parquet"),
        kinds=table.kinds,
        task=table.task,
        classes=table.classes,
        reading=vars(table.reading),
        trusted=skops.io.get_untrusted_types(file=workdir / "types.skops"),
        beats_constant=True,
    )


def scored(address, model, data, out, **more):
    return score(
        Score(model=model, data=data if isinstance(data, pd.DataFrame) else str(data), out=str(out), **more), address
    )


@pytest.mark.parametrize("chunk", [1, 50, 1000])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_round_trip_gives_the_models_own_predictions(world, tmp_path, suffix, chunk):
    folder, address, (model, table) = world
    out = tmp_path / f"out.{suffix}"
    done = scored(address, "wine", folder / "wine.csv", out, chunk=chunk)
    assert (done.rows, done.model, done.version, done.ignored, done.notes) == (178, "wine", 1, (), ())
    back = pd.read_csv(out, dtype={"prediction": str}) if suffix == "csv" else pd.read_parquet(out)
    assert list(back) == ["prediction", "probability_01", "probability_02", "probability_x, y", "model_version"]
    assert list(back["prediction"]) == list(model.predict(table.features))
    np.testing.assert_array_equal(back.iloc[:, 1:4], model.predict_proba(table.features))
    assert set(back["model_version"]) == {1}
    assert list(tmp_path.iterdir()) == [out]


def test_a_parquet_file_says_where_its_predictions_come_from(world, tmp_path):
    folder, address, _ = world
    scored(address, "wine/2", folder / "wine.csv", tmp_path / "out.parquet")
    version = find_version(connect_store(address), "wine/2")
    said = {k.decode(): v.decode() for k, v in pq.read_schema(tmp_path / "out.parquet").metadata.items()}
    assert datetime.fromisoformat(said.pop("nestor.time")).tzinfo
    assert said == {
        "nestor.model": "wine",
        "nestor.version": "2",
        "nestor.run_id": version.run_id,
        "nestor.digest": version.tags["nestor.digest"],
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_kept_columns_are_repeated_row_by_row(world, tmp_path, suffix):
    folder, address, (model, table) = world
    frame = pd.read_csv(folder / "wine.csv", dtype=str, keep_default_na=False)
    frame = frame.assign(id=[f"n{i}" for i in range(len(frame))], more=1).sample(frac=1, random_state=1)
    frame.to_csv(tmp_path / "new.csv", index=False)
    done = scored(address, "wine", tmp_path / "new.csv", tmp_path / f"out.{suffix}", keep="id,colour,id", chunk=31)
    back = {"csv": pd.read_csv, "parquet": pd.read_parquet}[suffix](tmp_path / f"out.{suffix}")
    assert list(back)[:3] == ["id", "colour", "prediction"]
    assert list(back["id"]) == list(frame["id"])
    places = [int(i[1:]) for i in frame["id"]]
    assert list(back["prediction"].astype(str)) == list(model.predict(table.features.iloc[places]))
    assert done.ignored == ("more",)
    assert done.remarks == ["Columns that wine/1 does not know are ignored: more."]


def test_a_column_cannot_be_kept_under_the_name_of_a_prediction(world, tmp_path):
    folder, address, _ = world
    frame = pd.read_csv(folder / "wine.csv").assign(prediction="old")
    with pytest.raises(InputError, match="The output has a column 'prediction' of its own"):
        scored(address, "wine", frame, tmp_path / "out.csv", keep=("prediction",))


def test_regression_gives_predictions_alone(world, tmp_path):
    folder, address, _ = world
    scored(address, "sugar", pd.read_csv(folder / "sugar.csv"), tmp_path / "out.csv")
    back = pd.read_csv(tmp_path / "out.csv")
    assert list(back) == ["prediction", "model_version"]
    assert np.corrcoef(back["prediction"], pd.read_csv(folder / "sugar.csv")["target"])[0, 1] > 0.6


def test_columns_may_come_in_another_order_with_others_and_unseen_levels(world, tmp_path):
    _, address, (model, table) = world
    shuffled = table.features.iloc[:5, ::-1].assign(more=1)
    shuffled["colour"] = pd.Series(["grün"] * 5, dtype="str")
    scored(address, "wine", shuffled, tmp_path / "out.parquet")
    expected = model.predict(shuffled[list(table.features)])
    assert list(pd.read_parquet(tmp_path / "out.parquet")["prediction"]) == list(expected)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["wine", "sugar"])
def test_no_rows_give_a_file_of_no_rows(world, tmp_path, model, suffix):
    folder, address, _ = world
    (tmp_path / "new.csv").write_text((folder / f"{model}.csv").read_text().split("\n")[0] + "\n")
    assert scored(address, model, tmp_path / "new.csv", tmp_path / f"out.{suffix}").rows == 0
    back = {"csv": pd.read_csv, "parquet": pd.read_parquet}[suffix](tmp_path / f"out.{suffix}")
    assert (len(back), next(iter(back)), list(back)[-1]) == (0, "prediction", "model_version")


def test_predictions_come_in_order_whatever_thread_is_first(world):
    _, _, (model, table) = world
    parts = [Chunk(table.features.iloc[i : i + 7], pa.table({})) for i in range(0, 178, 7)]
    joined = pa.concat_tables(predict_chunks(model, 1, iter(parts), threads=4))
    assert joined["prediction"].to_pylist() == list(model.predict(table.features))


def test_a_scoring_that_breaks_off_leaves_the_file_as_it_was(world, tmp_path):
    folder, address, _ = world
    frame = pd.read_csv(folder / "wine.csv", dtype=str, keep_default_na=False)
    frame.loc[170, "ash"] = "much"
    frame.to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "out.csv").write_text("yesterday")
    said = r"new.csv, column 'ash', data row 171: 'much' is no number.*was a number in training: correct it"
    with pytest.raises(InputError, match=said):
        scored(address, "wine", tmp_path / "new.csv", tmp_path / "out.csv", chunk=10)
    assert (tmp_path / "out.csv").read_text() == "yesterday"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", "out.csv"]


def test_how_far_it_is_is_told(world, tmp_path):
    folder, address, _ = world
    heard = []
    frame = pd.read_csv(folder / "sugar.csv")
    score(Score(model="sugar", data=frame, out=str(tmp_path / "o.csv"), chunk=100), address, lambda *t: heard.append(t))
    assert heard == [(100, 442), (200, 442), (300, 442), (400, 442), (442, 442)]


def test_dates_in_paths(world, tmp_path):
    folder, address, _ = world
    for day in ("2024-01-01", "2024-02-01"):
        shutil.copy(folder / "sugar.csv", tmp_path / f"new-{day}.csv")
    done = scored(address, "sugar", tmp_path / "new-%Y-%m-%d.csv", tmp_path / "out-%Y-%m-%d.csv")
    assert done.data.endswith("new-2024-02-01.csv")
    assert done.out == str(tmp_path / datetime.now().strftime("out-%Y-%m-%d.csv"))
    assert Path(done.out).exists()


def test_rows_of_a_database(world, tmp_path):
    folder, address, _ = world
    pd.read_csv(folder / "sugar.csv").to_sql("new", f"sqlite:///{tmp_path}/new.db", index=False)
    where = {"query": "select * from new where age > :age", "bound": {"age": "0"}}
    done = scored(address, "sugar", f"sqlite:///{tmp_path}/new.db", tmp_path / "out.csv", **where)
    assert done.rows == (pd.read_csv(folder / "sugar.csv")["age"] > 0).sum()


@pytest.mark.parametrize(
    ("asked", "version"), [("wine", 1), ("wine@champion", 1), ("wine@challenger", 2), ("wine/2", 2)]
)
def test_names_find_their_version(world, asked, version):
    assert int(find_version(connect_store(world[1]), asked).version) == version


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("wien", r"No model 'wien'. Did you mean wine\?"),
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
        find_version(connect_store(world[1]), asked)


def test_outputs_that_cannot_be_written_are_refused_first(world, tmp_path):
    folder, address, _ = world
    with pytest.raises(InputError, match=r"a \.csv or a \.parquet file, not 'out.txt'"):
        scored(address, "wine", folder / "wine.csv", tmp_path / "out.txt")
    with pytest.raises(InputError, match="There is no folder"):
        scored(address, "wine", folder / "wine.csv", tmp_path / "none" / "out.csv")


def test_lacking_columns_are_named(world, tmp_path):
    _, address, (_, table) = world
    with pytest.raises(InputError, match=r"lacks the columns 'price' \(number\), 'colour' \(category\)"):
        scored(address, "wine", table.features.drop(columns=["price", "colour"]), tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


# --- A model that was tampered with -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim(world, tmp_path_factory):
    """A version to tamper with: its client, its folder, and a copy of that."""
    _, address, made = world
    registered(tmp_path_factory.mktemp("forged"), address, "forged", *made)
    client = connect_store(address)
    folder = Path(client.get_model_version_download_uri("forged", "1").removeprefix("file://"))
    return client, folder, shutil.copytree(folder, tmp_path_factory.mktemp("kept") / "whole")


@pytest.fixture
def forged(world, victim):
    """A version to tamper with, which is made whole afterwards: its folder, the client, its name, and what `load` says
    of it."""
    address, (client, folder, kept), name = world[1], victim, "forged"
    tags = client.get_model_version(name, "1").tags
    assert load_version(name, address).version == 1

    def refused() -> str:
        with pytest.raises(NestorError) as error:
            load_version(name, address)
        assert error.value.exit_code == 1
        return str(error.value).replace(f"{name}/1", "it")

    yield folder, client, name, refused
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    for tag, value in tags.items():
        client.set_model_version_tag(name, "1", tag, value)


def another_type(folder):
    """The model with a step that runs code when it is loaded or asked: a function of the standard library."""
    model = skops.io.load(folder / "model.skops", trusted=skops.io.get_untrusted_types(file=folder / "model.skops"))
    evil = make_pipeline(FunctionTransformer(subprocess.check_output), model)
    skops.io.dump(evil, folder / "model.skops")


def one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def edited(path, old, new):
    assert old in path.read_text("utf-8")
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")


TAMPERED = {
    "a bit of the model": lambda folder: one_bit(folder / "model.skops"),
    "another type inside": another_type,
    "nestor.json": lambda f: (f / "nestor.json").write_text(
        (f / "nestor.json").read_text().replace("number", "text", 1)
    ),
    "one more file": lambda f: (f / "sitecustomize.py").write_text("print('hello')"),
    "a file less": lambda f: (f / "requirements.txt").unlink(),
    "requirements": lambda f: (f / "requirements.txt").write_text("skopz==1.0"),
    "MLmodel": lambda folder: edited(folder / "MLmodel", "loader_module: nestor_", "loader_module: other_"),
    "a file that moved": lambda f: (f / "requirements.txt").rename(f / "requirement.txt"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_files_that_were_changed_are_not_loaded(forged, what):
    folder, _, _, refused = forged
    TAMPERED[what](folder)
    said = refused()
    assert re.fullmatch(
        r"The files of it are not those that were registered: their digest is [0-9a-f]{12}…, the registry's "
        r"[0-9a-f]{12}…; it is not loaded. Find out who changed them, and use another version.",
        said,
    )


def test_a_link_to_elsewhere_is_not_followed(forged, tmp_path):
    folder, _, _, refused = forged
    (folder / "more").symlink_to("/etc")
    assert refused().startswith("The files of it can't be had: ")


def test_what_mlflow_writes_itself_is_no_tampering(forged, world):
    folder, _, name, _ = forged
    (folder / "registered_model_meta").write_text("MLflow writes this")
    assert load_version(name, world[1]).version == 1


def test_without_a_digest_in_the_registry_nothing_can_be_checked(forged):
    _, client, name, refused = forged
    client.delete_model_version_tag(name, "1", "nestor.digest")
    assert refused().startswith("The registry keeps no digest of it (the tag nestor.digest is gone)")


def test_a_forged_list_and_a_forged_digest_do_not_help(forged):
    """Whoever can write both the files and the tags: what is left is the list of types on this side."""
    folder, client, name, refused = forged
    another_type(folder)
    facts = json.loads((folder / "nestor.json").read_text("utf-8"))
    facts["trusted"] = skops.io.get_untrusted_types(file=folder / "model.skops")
    (folder / "nestor.json").write_text(json.dumps(facts), "utf-8")
    client.set_model_version_tag(name, "1", "nestor.digest", digest_folder(folder))
    said = refused()
    assert said.startswith("it holds types that no family of this installation names: subprocess.check_output; it is")


BROKEN = {
    "nestor.json": [b"", b"{", b"[]", b"{}", b"\xff\xfe"],
    "model.skops": [b"", b"PK\x03\x04", b"garbage"],
    "requirements.txt": [b"\xff\xfe"],
    "row_keys.npz": [b"", b"PK\x03\x04"],
    "profile.json": [b"", b"{"],
    "conformal.json": [b"", b"{", b"[]"],
}


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, all_of in BROKEN.items() for one in all_of])
def test_a_version_registered_with_a_broken_file_is_refused_by_the_files_name(forged, name, content):
    folder, client, model, refused = forged
    (folder / name).write_bytes(content)
    client.set_model_version_tag(model, "1", "nestor.digest", digest_folder(folder))
    assert refused().startswith(f"it is damaged: its file {name} can't be read; it is not loaded.")


@pytest.mark.parametrize("name", ["nestor.json", "model.skops", "requirements.txt"])
def test_a_version_registered_without_a_file_is_refused_by_the_files_name(forged, name):
    folder, client, model, refused = forged
    (folder / name).unlink()
    client.set_model_version_tag(model, "1", "nestor.digest", digest_folder(folder))
    assert refused().startswith(f"it is damaged: it has no file {name}; it is not loaded.")


@pytest.fixture
def elsewhere():
    """A folder that other users may enter: pytest's own are for one alone."""
    folder = Path(tempfile.mkdtemp(prefix="nestor-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="another user is become as Linux has it")
def test_scoring_needs_to_write_nothing_but_its_output(elsewhere):
    store, own = elsewhere / "store", elsewhere / "own"
    store.mkdir(), own.mkdir()
    address = f"sqlite:///{store}/m.db"
    registered(store / "wine", address, "wine", *wine(store))
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        os.chown(own, 65534, os.getgid())
    for path in (store, store / "m.db"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [*user, *stack.make_command("score", "wine", "wine.csv", "--out", str(own / "out.csv"))]
    env = {**os.environ, "MLFLOW_TRACKING_URI": address, "HOME": str(own)}
    done = subprocess.run(command, cwd=store, env=env, capture_output=True, text=True, check=False)
    store.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(own / "out.csv")) == 178
    assert sorted(p.name for p in own.iterdir()) == ["out.csv"]


def test_what_is_checked_is_what_is_loaded(forged, world, monkeypatch):
    """The files change after the check: the copy that was checked is loaded."""
    folder, _, name, _ = forged
    opened = skops.io.load

    def late(file, trusted):
        shutil.rmtree(folder)
        return opened(file, trusted=trusted)

    monkeypatch.setattr(skops.io, "load", late)
    assert load_version(name, world[1]).version == 1


def test_every_type_of_a_family_is_a_librarys():
    assert {t.split(".")[0] for t in list_known_types()} <= {
        "catboost", "collections", "functools", "interpret", "lightgbm", "numpy", "scipy", "sklearn", "skrub", "xgboost"
    }  # fmt: skip


def test_a_version_of_another_tool_is_named(world, tmp_path):
    client = connect_store(world[1])
    client.create_registered_model("foreign")
    (tmp_path / "MLmodel").write_text("")
    client.create_model_version("foreign", tmp_path.as_uri())
    with pytest.raises(InputError, match="foreign/1 was not registered by Nestor"):
        load_version("foreign", world[1])


def test_nothing_is_written_on_the_screen(world, tmp_path):
    folder, address, _ = world
    code = "import sys; from tasks.scoring.score import Score, score; from tasks.tracking import list_runs;"
    code += "m, d, o, a = sys.argv[1:]; score(Score(model=m, data=d, out=o), a); list_runs(None, a)"
    arguments = ["wine", str(folder / "wine.csv"), str(tmp_path / "out.csv"), address]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
