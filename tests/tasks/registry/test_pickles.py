"""Versions that are pickles, since skops can't hold what their family made: marked, never champion by themselves, and
loaded only where a person says so, whatever else is right about them."""

from __future__ import annotations

import json
import logging
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from mlflow.models import Model
from sklearn.dummy import DummyRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

import models.families as families
from models.config import Gate, Retrain, Run, Score
from models.errors import InputError, NestorError
from models.evaluation.ensemble import EnsembleMember
from models.splitting.split import ALL
from tasks.data import read_table
from tasks.evaluation.ensemble import FoldEnsemble
from tasks.evaluation.package import list_unsafe_families
from tasks.planning.eligible import choose_families
from tasks.registry import pickles
from tasks.registry.load import load_version
from tasks.registry.new_version import NewVersion
from tasks.registry.register import ALWAYS, _dump_model, _save_version, digest_folder, is_installed, list_requirements
from tasks.retrain import data, gate
from tasks.scoring import predict
from tasks.scoring.score import score
from tasks.tracking import moves
from tasks.tracking.store import connect_store
from tests.versions import Registry, make_digits, make_good_model, make_poor_model

FILE = """
from sklearn.neighbors import KNeighborsClassifier
from models.fitting.family import Family, FittedModel, Needs

FAMILY = Family(
    name="odd", suits="tests", cost=1e-6, needs=Needs("onehot", missing=False, scaled=True), default={"k": 5},
    space=lambda trial, shape: {"k": trial.suggest_int("k", 1, 9)}, tasks=("binary",), source="none", safe=False,
    fit=lambda config, part, seed, threads: FittedModel(KNeighborsClassifier(config["k"]).fit(part.X, part.y)),
)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A family that skops can't hold, as somebody would add one: a file in the package."""
    (tmp_path / "odd.py").write_text(FILE)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    families.load_families.cache_clear()
    yield families.load_family("odd")
    families.load_families.cache_clear()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """`mixed`: a champion that knows nothing, and a good version that is a pickle."""
    found = Registry(tmp_path_factory.mktemp("registry"))
    found.train("mixed", make_digits(), make_poor_model)
    found.trained = found.train("mixed", make_digits(), neighbours, unsafe=("odd",))
    return found


def neighbours(work) -> Any:
    """A model of types that no family names as trusted."""
    return make_pipeline(MinMaxScaler(), KNeighborsClassifier(algorithm="kd_tree"))


def version_of(registry, name, version):
    return connect_store(registry.address).get_model_version(name, str(version))


def folder_of(registry, name, version) -> Path:
    where = connect_store(registry.address).get_model_version_download_uri(name, str(version))
    return Path(where.removeprefix("file://"))


def aliases(registry, name):
    return {a: int(v) for a, v in connect_store(registry.address).get_registered_model(name).aliases.items()}


# --- Who is tried ----------------------------------------------------------------------------------------------------


def test_only_who_names_such_a_family_gets_it(odd):
    run = Run(data=make_digits(), target="target")
    kept, left_out = choose_families(read_table(run), run)
    assert left_out["odd"].endswith("as pickles, which may run code when loaded; allow it by name (--families)")
    assert "odd" not in [f.name for f in kept]
    run = Run(data=make_digits(), target="target", search={"families": "odd,linear"})
    kept, left_out = choose_families(read_table(run), run)
    assert [f.name for f in kept] == ["odd", "linear"]
    assert left_out == {}


def test_only_delivered_members_make_a_version_unsafe(odd):
    def of(**chosen):
        made = {k: FoldEnsemble(k, tuple(EnsembleMember(f, 0, 1.0) for f in names), 0.0) for k, names in chosen.items()}
        return list_unsafe_families(made)

    assert of(one=["linear"], two=["odd", "linear"]) == ["odd"]
    assert of(one=["linear"], two=["linear"]) == []
    assert of(**{"one": ["odd"], ALL: ["linear"]}) == []
    assert of(**{"one": ["linear"], ALL: ["odd"]}) == ["odd"]


# --- What is registered ----------------------------------------------------------------------------------------------


def test_the_version_is_a_pickle_and_says_so(registry):
    version, folder = version_of(registry, "mixed", 2), folder_of(registry, "mixed", 2)
    assert version.tags["nestor.unsafe"] == "true"
    assert "odd, whose models can only be pickled" in version.description
    assert json.loads((folder / "nestor.json").read_text())["unsafe"] == ["odd"]
    assert (folder / "model.pkl").exists()
    assert not list(folder.glob("*.skops"))
    needed = (folder / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in needed] == ["mlflow", "numpy", "pandas", "scikit-learn", "skops"]
    assert all(map(is_installed, needed))


def test_a_version_of_safe_families_is_as_it_was(registry):
    version, folder = version_of(registry, "mixed", 1), folder_of(registry, "mixed", 1)
    assert "nestor.unsafe" not in version.tags
    assert not version.description
    assert (folder / "model.skops").exists()
    assert not list(folder.glob("*.pkl"))


def test_a_pickle_of_our_own_types_is_refused(tmp_path):
    with pytest.raises(NestorError, match="holds types of tasks: who loads it would need this project"):
        _dump_model(FunctionTransformer(moves.trace_champions), tmp_path / "model.pkl", {"unsafe": ["odd"]})


def test_requirements_name_what_a_pickle_needs(tmp_path):
    joined = {"model": LGBMRegressor(n_estimators=2, verbosity=-1).fit(np.eye(30), np.arange(30))}
    pickles.dump_pickle(joined, tmp_path / "model.pkl")
    needed = list_requirements(pickles.find_pickle_modules(tmp_path / "model.pkl"))
    assert {line.split("==")[0] for line in needed} == {*ALWAYS, "lightgbm"}
    assert all(map(is_installed, needed))


# --- Who may be champion ---------------------------------------------------------------------------------------------


def test_the_first_version_is_no_champion_when_it_is_a_pickle(registry):
    registry.train("first", make_digits(), neighbours, unsafe=("odd",))
    assert aliases(registry, "first") == {"challenger": 1}
    with pytest.raises(InputError, match=r"first/1 is not loaded\. It holds odd, .* Say --unsafe"):
        gate.promote("first", address=registry.address)
    move = gate.promote("first", why="we made it", address=registry.address, unsafe=True)
    assert (move.kind, move.how, move.after) == ("promote", "manual", 1)
    assert aliases(registry, "first") == {"champion": 1}


@pytest.mark.parametrize("allowed", [False, True])
def test_the_gate_leaves_a_pickle_to_a_person(registry, allowed):
    verdict = gate.judge_challenger("mixed", *registry.trained, Gate(), registry.address, unsafe=allowed)
    assert verdict.promoted is None
    assert "not promoted by itself: nestor promote mixed/2 --unsafe" in verdict.sentence
    assert gate.settle_verdict(verdict, who="ann", address=registry.address) is None
    assert aliases(registry, "mixed") == {"champion": 1, "challenger": 2}


def test_a_champion_that_is_a_pickle_meets_challengers_where_that_is_said(registry):
    registry.train("hand", make_digits(), make_poor_model, unsafe=("odd",))
    gate.promote("hand", 1, address=registry.address, unsafe=True)
    trained = registry.train("hand", make_digits(), make_good_model)
    with pytest.raises(InputError, match="hand/1 is not loaded"):
        gate.judge_challenger("hand", *trained, Gate(), registry.address)
    verdict = gate.judge_challenger("hand", *trained, Gate(), registry.address, unsafe=True)
    assert verdict.promoted is True
    assert verdict.champion_cost.size > 0
    assert gate.settle_verdict(verdict, who="ann", address=registry.address).after == 2
    with pytest.raises(InputError, match=r"no earlier champion to go back to. Version 1 is passed over: hand/1 is not"):
        gate.rollback("hand", address=registry.address)


def test_a_retraining_begins_with_such_a_champion_where_that_is_said(registry):
    registry.train("again", make_digits(), make_good_model, unsafe=("odd",))
    gate.promote("again", 1, address=registry.address, unsafe=True)
    with pytest.raises(InputError, match="again/1 is not loaded"):
        data._load_champion(Retrain(name="again"), registry.address)
    champion = data._load_champion(Retrain(name="again", unsafe=True), registry.address)
    assert champion is not None
    assert champion.unsafe == ["odd"]


# --- Who loads it ----------------------------------------------------------------------------------------------------


def test_a_pickle_predicts_in_one_thread(registry, tmp_path, monkeypatch):
    """Some libraries keep notes in a model while it predicts."""
    at_work, most, whole = 0, {}, predict._predict_columns

    def watched(model, version, *more):
        nonlocal at_work
        at_work += 1
        most[version] = max(most.get(version, 0), at_work)
        time.sleep(0.05)
        at_work -= 1
        return whole(model, version, *more)

    monkeypatch.setattr(predict, "_predict_columns", watched)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    for version in (1, 2):
        rows, out = make_digits().drop(columns="target"), str(tmp_path / "out.csv")
        score(Score(model=f"mixed/{version}", data=rows, out=out, chunk=200, unsafe=True), registry.address)
    assert most[2] == 1 < most[1]


def test_scoring_loads_a_pickle_only_where_that_is_said_and_says_so(registry, tmp_path):
    rows = make_digits().drop(columns="target")
    asked = {"model": "mixed/2", "data": rows, "out": str(tmp_path / "out.csv")}
    with pytest.raises(InputError, match=r"mixed/2 is not loaded\. It holds odd"):
        score(Score(**asked), registry.address)
    assert not (tmp_path / "out.csv").exists()
    done = score(Score(**asked, unsafe=True), registry.address)
    assert done.rows == len(rows)
    assert done.as_json()["notes"] == ("mixed/2 is a pickle, loaded since --unsafe was said (it holds odd).",)
    assert score(Score(**{**asked, "model": "mixed/1"}, unsafe=True), registry.address).notes == ()


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return Path.touch, (Path(self.file),)


def test_a_pickle_that_was_exchanged_is_not_opened(registry, tmp_path):
    """The digest is looked at first: nothing of the file runs, whatever is said."""
    registry.train("bomb", make_digits(), neighbours, unsafe=("odd",))
    (folder_of(registry, "bomb", 1) / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(NestorError, match="not those that were registered"):
        load_version("bomb/1", registry.address, unsafe=True)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_a_safe_model_is_not_opened(registry, tmp_path):
    """Who can write tags as well gets past the digest, but not past who said nothing."""
    registry.train("swapped", make_digits(), make_good_model)
    folder = folder_of(registry, "swapped", 1)
    (folder / "model.skops").unlink()
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    connect_store(registry.address).set_model_version_tag("swapped", "1", "nestor.digest", digest_folder(folder))
    with pytest.raises(InputError, match="swapped/1 is not loaded"):
        load_version("swapped/1", registry.address)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_parts_that_are_gone_says_so(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"cgone_for_good\nThing\n.")
    with pytest.raises(NestorError, match=r"a/1 can't be unpickled here: No module named 'gone_for_good'"):
        pickles.load_pickle(tmp_path / "model.pkl", "a/1", ["odd"])


def test_what_is_imported_with_a_pickle_tells_no_more_of_each_prediction(tmp_path, monkeypatch):
    (tmp_path / "talkative.py").write_text("import logging\nlogging.getLogger('talkative').setLevel(logging.INFO)\n")
    (tmp_path / "model.pkl").write_bytes(b"ctalkative\nlogging\n.")
    monkeypatch.syspath_prepend(tmp_path)
    pickles.load_pickle(tmp_path / "model.pkl", "a/1", ["odd"])
    assert logging.getLogger("talkative").level == logging.WARNING


def test_the_tested_twin_is_a_pickle_too(registry, tmp_path):
    rows = make_digits().drop(columns="target")
    model, tested, example = (tmp_path / name for name in ("model.pkl", "tested.pkl", "example.parquet"))
    for file in (model, tested):
        file.write_bytes(pickle.dumps(DummyRegressor().fit(rows, range(len(rows)))))
    rows.head().to_parquet(example)
    new = NewVersion(
        name="odd", model=str(model), tested=str(tested), example=str(example), kinds={}, task="regression", classes=(),
        reading={}, trusted=(), unsafe=("odd",), beats_constant=True,
    )  # fmt: skip
    _save_version(new, tmp_path / "out", Model())
    assert {p.name for p in (tmp_path / "out").glob("*.pkl")} == {"model.pkl", "tested.pkl"}
