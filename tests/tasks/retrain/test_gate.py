"""Champion against challenger in a real registry: who meets on which rows, who moves, what is written down, and what is
true after a kill between any two steps."""

import json
import os
import threading
from itertools import count

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from models.config import Gate
from models.errors import InputError, NestorError
from models.evaluation.gate import MOST_USES, Verdict
from models.evaluation.looks import compute_look_level
from tasks.registry.load import load_version
from tasks.retrain import comparison
from tasks.retrain import gate as promote
from tasks.scoring.champion import predict_for_metric
from tasks.tracking import moves
from tasks.tracking.challengers import find_look_number, keep_look
from tasks.tracking.look import list_champion_moves
from tasks.tracking.seal import REMEMBERED, count_decision
from tasks.tracking.store import connect_store
from tests.versions import Registry, make_digits, make_good_model, make_poor_model


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def pair(registry):
    """A champion that knows nothing and a good challenger, over one table: the challenger's version and folder."""
    registry.train("pair", make_digits(), make_poor_model)
    return registry.train("pair", make_digits(), make_good_model)


@pytest.fixture
def cloned(registry, pair):
    """`cloned(2, 1)`: a model whose versions are 2 and 1 of `pair`; the first of them is champion."""
    client = connect_store(registry.address)

    def clone(*versions):
        registry.count += 1
        name = f"cloned{registry.count}"
        client.create_registered_model(name)
        for version in versions:
            source = client.get_model_version("pair", str(version))
            client.create_model_version(name, source.source, tags={"nestor.digest": source.tags["nestor.digest"]})
        moves.move_champion(client, name, 1, "first", "ann")
        return name

    return clone


def gate(registry, name, trained, **settings):
    return promote.judge_challenger(name, *trained, Gate(**settings), registry.address)


def settled(registry, verdict, approved=None, **more):
    return promote.settle_verdict(verdict, approved, "ann", address=registry.address, **more)


def aliases(registry, name):
    return {a: int(v) for a, v in connect_store(registry.address).get_registered_model(name).aliases.items()}


def tags(registry, name, version):
    return connect_store(registry.address).get_model_version(name, str(version)).tags


def told(registry, name):
    """The moves, oldest first, as kind, from, to."""
    return [(m["kind"], m["from"], m["to"]) for m in reversed(list_champion_moves(name, registry.address))]


# --- The gate --------------------------------------------------------------------------------------------------------


def test_the_first_version_has_nobody_to_meet(registry):
    trained = registry.train("alone", make_digits())
    verdict = gate(registry, "alone", trained)
    assert verdict.promoted is None
    assert "is the champion itself" in verdict.sentence
    assert settled(registry, verdict) is None
    assert told(registry, "alone") == [("first", None, 1)]
    assert aliases(registry, "alone") == {"champion": 1}


def test_the_verdict_moves_nothing_and_names_what_it_saw(registry, pair):
    verdict = gate(registry, "pair", pair, subgroup="pixel_1_2")
    assert (verdict.promoted, verdict.champion_version, verdict.challenger_version) == (True, 1, 2)
    assert (verdict.rows, verdict.units, verdict.unit) == (371, 371, "row")
    assert 0 < verdict.champion_cost.latency < verdict.challenger_cost.latency
    assert 0 < verdict.champion_cost.size < verdict.challenger_cost.size
    assert verdict.levels
    assert aliases(registry, "pair") == {"champion": 1, "challenger": 2}
    assert told(registry, "pair") == [("first", None, 1)]


@pytest.mark.parametrize(("limit", "word"), [({"latency": 0.001}, "ms for one row"), ({"size": 0.001}, "MB on disk")])
def test_limits_are_measured_on_the_challenger(registry, pair, limit, word):
    verdict = gate(registry, "pair", pair, **limit)
    assert verdict.promoted is False
    assert any(word in reason for reason in verdict.reasons)


def test_what_else_runs_on_the_machine_does_not_count_as_latency(registry, pair):
    quiet, over = gate(registry, "pair", pair).challenger_cost.latency, threading.Event()
    threading.Thread(target=lambda: all(not over.is_set() for _ in count()), daemon=True).start()
    try:
        assert gate(registry, "pair", pair).challenger_cost.latency < 2.5 * quiet
    finally:
        over.set()


def test_a_subgroup_that_is_no_feature_is_refused(registry, pair):
    with pytest.raises(InputError, match=r"gate\.subgroup 'age'"):
        gate(registry, "pair", pair, subgroup="age")


def test_the_better_challenger_is_promoted_and_the_loser_becomes_challenger(registry, pair, cloned):
    name = cloned(1, 2)
    verdict = gate(registry, name, pair)
    move = settled(registry, verdict)
    assert (move.kind, move.how, move.before, move.after, move.who) == ("promote", "gate", 1, 2, "ann")
    assert aliases(registry, name) == {"champion": 2, "challenger": 1}
    assert told(registry, name) == [("first", None, 1), ("promote", 1, 2)]
    assert move.numbers["gain"] == verdict.gain.value
    assert (move.numbers["look"], move.numbers["level"]) == (1, verdict.sure)
    for version in (1, 2):
        kept = tags(registry, name, version)
        assert Verdict.from_json(json.loads(kept["nestor.verdict"])) == verdict
        assert kept["nestor.verdict_sentence"] == verdict.sentence
        assert json.loads(kept["nestor.settled"])["promoted"] is True
    assert "nestor.published" not in tags(registry, name, 1)
    published = json.loads(tags(registry, name, 2)["nestor.published"])
    assert published["mark"] == f"chosen on these rows, use {verdict.uses}"
    assert published["value"] == verdict.published.score.value == pytest.approx(verdict.challenger.value, abs=1e-4)
    assert settled(registry, verdict) == move, "told again it changes nothing"
    assert len(told(registry, name)) == 2


def test_an_equal_challenger_is_kept_out_and_becomes_challenger(registry, pair, cloned):
    name = cloned(2, 2)
    verdict = gate(registry, name, pair)
    assert verdict.promoted is False
    assert verdict.gain.value == 0
    assert settled(registry, verdict) is None
    assert aliases(registry, name) == {"champion": 1, "challenger": 2}
    assert json.loads(tags(registry, name, 1)["nestor.settled"])["promoted"] is False
    assert "champion stays" in tags(registry, name, 2)["nestor.verdict_sentence"]


@pytest.mark.parametrize("approved", [True, False])
def test_a_person_who_is_asked_has_the_last_word(registry, pair, cloned, approved):
    name = cloned(2, 2)
    verdict = gate(registry, name, pair)
    assert verdict.promoted is False
    move = settled(registry, verdict, approved, why="the team wants it")
    assert aliases(registry, name)["champion"] == (2 if approved else 1)
    if approved:
        assert (move.how, move.who, move.why) == ("approved", "ann", "the team wants it")
    assert json.loads(tags(registry, name, 2)["nestor.settled"])["approved"] is approved


def test_a_verdict_about_a_former_champion_moves_nothing(registry, pair, cloned):
    name = cloned(1, 2, 2)
    verdict = gate(registry, name, pair)
    promote.promote(name, 3, address=registry.address)
    with pytest.raises(NestorError, match=f"Version 3 became champion of {name} since version 2 met version 1"):
        settled(registry, verdict)
    assert champion(registry, name) == 3


# --- Rows that neither was trained on --------------------------------------------------------------------------------


def test_rows_that_the_champion_was_trained_on_are_left_out(registry, monkeypatch):
    """Another salt seals rows that the champion was trained on: only those that were sealed both times remain."""
    first = registry.train("salted", make_digits(), make_poor_model, split={"sealed": 0.5})
    champion = pd.read_feather(first[1] / "work.arrow")
    kept = json.loads((first[1] / "seal.json").read_text())["salt"]
    second = registry.train(
        "salted", make_digits(), make_good_model, split={"sealed": 0.5, "salt": 0 if kept else 1, "new_seal": True}
    )
    seen = []
    whole = predict_for_metric
    monkeypatch.setattr(comparison, "predict_for_metric", lambda *a: (seen.append(a[1]), whole(*a))[1])
    verdict = gate(registry, "salted", second)
    sealed = pd.read_feather(second[1] / "sealed.arrow")
    columns = sorted(sealed.columns)
    rows = {tuple(row) for row in champion[columns].to_numpy()}
    mine = [tuple(row) not in rows for row in sealed[columns].to_numpy()]
    assert 200 < verdict.rows == sum(mine) < 0.7 * len(sealed)
    assert len(seen) == 2
    for used in seen:
        assert not rows & {tuple(row) for row in used[columns].to_numpy()}
    assert f"{verdict.rows} of {len(sealed)} sealed rows remain" in verdict.sentence


def test_the_new_salt_holds_for_later_runs(registry):
    first = registry.begun_seal("resalted", make_digits())
    other = 0 if first.salt else 1
    with pytest.raises(InputError, match=rf"the salt {other} \(--salt\), and were drawn by {first.salt}.*--new-seal"):
        registry.begun_seal("resalted", make_digits(), split={"salt": other})
    assert registry.begun_seal("resalted", make_digits(), split={"salt": other, "new_seal": True}).salt == other
    assert registry.begun_seal("resalted", make_digits()).salt == other
    assert registry.begun_seal("resalted", make_digits(), split={"salt": other}).salt == other


def test_too_few_rows_decide_nothing(registry):
    registry.train("few", make_digits(slice(0, 600)), make_poor_model)
    verdict = gate(registry, "few", registry.train("few", make_digits(slice(0, 600)), make_good_model))
    assert verdict.promoted is None
    assert "rows are left that neither version was trained on, and 200 are needed" in verdict.sentence
    assert verdict.challenger_cost.latency > 0
    assert settled(registry, verdict) is None
    assert aliases(registry, "few") == {"champion": 1, "challenger": 2}
    assert "Nothing is decided" in tags(registry, "few", 1)["nestor.verdict_sentence"]
    assert verdict.uses == 0


def grouped(groups=120, rows=1_500, shift=0):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"who": [f"g{g + shift}" for g in rng.integers(0, groups, rows)], "a": rng.normal(size=rows)})
    return frame.assign(target=np.where(frame["a"] + rng.normal(size=rows) > 0, "yes", "no"))


def test_groups_that_the_champion_was_trained_on_are_left_out(registry):
    """The second seal is drawn by another salt; of its groups those remain that were sealed both times."""
    split = {"group": "who", "sealed": 0.5}
    first = registry.train("groups", grouped(), make_poor_model, split=split)
    kept = json.loads((first[1] / "seal.json").read_text())["salt"]
    second = registry.train(
        "groups", grouped(), make_good_model, split={**split, "salt": 0 if kept else 1, "new_seal": True}
    )
    verdict = gate(registry, "groups", second)
    champion = load_version("groups/1", registry.address)
    rows = comparison.read_sealed_rows(second[1])
    left = ~np.isin(rows.keys, champion.row_keys["trained"])
    assert verdict.unit == "group"
    assert (verdict.rows, verdict.units) == (left.sum(), len(np.unique(rows.keys[left])))
    assert 20 <= verdict.units < len(np.unique(rows.keys))


def test_copies_of_a_row_are_drawn_together(registry):
    twice = pd.concat([make_digits(), make_digits()], ignore_index=True)
    registry.train("copies", twice, make_poor_model)
    verdict = gate(registry, "copies", registry.train("copies", twice, make_good_model))
    assert verdict.units == verdict.rows / 2


def test_without_sealed_rows_nothing_is_decided(registry):
    registry.train("open", make_digits(), make_poor_model, split={"sealed": 0})
    verdict = gate(registry, "open", registry.train("open", make_digits(), make_good_model, split={"sealed": 0}))
    assert verdict.promoted is None
    assert "sealed no rows" in verdict.sentence


# --- Tables that changed ---------------------------------------------------------------------------------------------


def test_a_column_that_today_lacks_decides_nothing(registry):
    registry.train("lacks", make_digits(), make_good_model)
    less = make_digits().drop(columns="pixel_1_2")
    verdict = gate(registry, "lacks", registry.train("lacks", less, make_good_model, split={"new_seal": True}))
    assert verdict.promoted is None
    assert "Today's table lacks columns that the champion needs: pixel_1_2" in verdict.sentence


def test_a_column_of_another_kind_decides_nothing(registry):
    frame = make_digits()
    registry.train("kinds", frame, make_good_model)
    words = frame.assign(pixel_1_2=[f"w{v:.0f}" for v in frame["pixel_1_2"]])
    verdict = gate(registry, "kinds", registry.train("kinds", words, make_good_model, split={"new_seal": True}))
    assert verdict.promoted is None
    assert "pixel_1_2 (was number, is category)" in verdict.sentence


def test_a_new_column_leaves_the_champions_rows_known(registry):
    """A new seal knows rows by the new column too, so every key is another; the champion's own columns still tell which
    rows it was trained on."""
    frame = make_digits()
    registry.train("wider", frame, make_poor_model)
    wider = frame.assign(more=np.random.default_rng(0).normal(size=len(frame)))
    second = registry.train("wider", wider, make_good_model, split={"sealed": 0.6, "new_seal": True})
    verdict = gate(registry, "wider", second)
    champion = {
        tuple(r) for r in pd.read_feather(registry.folder / f"run{registry.count - 1}" / "work.arrow").to_numpy()
    }
    sealed = pd.read_feather(second[1] / "sealed.arrow")[list(frame.columns[:-1])]
    left = sum(tuple(row) not in champion for row in sealed.to_numpy())
    assert 200 <= verdict.rows == left < 0.5 * len(sealed)


def test_rows_known_by_other_ids_decide_nothing(registry):
    frame = make_digits().assign(key=range(1_797), number=range(1_797))
    registry.train("ids", frame, make_good_model, split={"id": "key"})
    verdict = gate(
        registry, "ids", registry.train("ids", frame, make_good_model, split={"id": "number", "new_seal": True})
    )
    assert verdict.promoted is None
    assert "can't be told" in verdict.sentence or "lacks columns" in verdict.sentence


def test_ids_that_are_named_later_move_no_row(registry):
    frame = make_digits().assign(key=range(1_797))
    first = registry.begun_seal("named later", frame, drop="key")
    assert registry.begun_seal("named later", frame, split={"id": "key"}).columns == first.columns
    assert "key" not in first.columns


def test_other_labels_decide_nothing(registry):
    registry.train("labels", make_digits())
    other = make_digits().replace({"target": {"high": "1", "low": "0"}})
    verdict = gate(registry, "labels", registry.train("labels", other))
    assert verdict.promoted is None
    assert "The champion knows the labels" in verdict.sentence


def test_a_label_that_the_champion_does_not_know_counts_against_it(registry):
    three, how = make_digits(classes=3), {"metric": "accuracy", "split": {"sealed": 0.5}}
    registry.train("more", three[three["target"] != "c"].reset_index(drop=True), make_good_model, **how)
    verdict = gate(registry, "more", registry.train("more", three, make_good_model, **how))
    assert verdict.promoted is True
    assert "The champion does not know the labels c" in verdict.sentence


def test_probabilities_are_matched_by_label_whatever_their_order(registry):
    """With the other class as the positive one the columns stand the other way round; the models are the same."""
    registry.train("turned", make_digits(), make_good_model, metric="log_loss")
    verdict = gate(
        registry, "turned", registry.train("turned", make_digits(), make_good_model, positive="high", metric="log_loss")
    )
    assert verdict.gain.value == pytest.approx(0, abs=1e-6)


def test_a_champion_of_another_task_decides_nothing(registry):
    frame = make_digits()
    registry.train("task", frame)
    numbers = frame.assign(target=np.random.default_rng(0).normal(size=len(frame)))
    verdict = gate(registry, "task", registry.train("task", numbers))
    assert "task is binary, the challenger's regression" in verdict.sentence


# --- How often these rows decided ------------------------------------------------------------------------------------


def test_decisions_are_counted_across_names_and_a_repeated_meeting_once(registry, pair, cloned):
    one, two = cloned(1, 2), cloned(1, 2)
    first = gate(registry, one, pair).uses
    assert [gate(registry, name, pair).uses for name in (one, two, two)] == [first, first + 1, first + 1]
    assert f"have decided {first + 1} times" in gate(registry, two, pair).sentence


def test_worn_sealed_rows_advise_a_new_seal_which_counts_anew(registry):
    frame = make_digits().rename(columns={"pixel_1_2": "worn"})
    registry.train("worn", frame, make_poor_model)
    second = registry.train("worn", frame, make_good_model)
    identity = json.loads((second[1] / "sealed.json").read_text())["identity"]
    client = connect_store(registry.address)
    for i in range(MOST_USES):
        count_decision(client, registry.address, identity, f"other/{i}")
    verdict = gate(registry, "worn", second)
    assert verdict.uses == MOST_USES + 1
    assert "draw" in verdict.sentence
    assert "--new-seal" in verdict.sentence
    registry.begun_seal("worn", frame, split={"new_seal": True})
    fresh = json.loads((registry.folder / f"run{registry.count}" / "sealed.json").read_text())["identity"]
    assert count_decision(client, registry.address, fresh, "any") == 1


def test_the_count_of_a_time_plan_starts_anew_with_its_window(registry):
    frame = make_digits().assign(day=np.arange(1_797))
    split = {"time": "day"}
    registry.train("days", frame[:1_500], make_poor_model, split=split)
    one = registry.train("days", frame[:1_500], make_good_model, split=split)
    assert [gate(registry, "days", one).uses for _ in range(2)] == [1, 1]
    two = registry.train("days", frame, make_good_model, split=split)
    verdict = gate(registry, "days", two)
    assert verdict.uses == 1
    assert verdict.unit == "block"


def test_looks_are_counted_for_each_champion_and_a_repeated_meeting_once(registry, pair, cloned):
    """Version 2 is the better one, 1, 3, 4 and 5 are equals."""
    name, folder = cloned(1, 2, 1, 1, 1), pair[1]

    def looks(*challengers: int) -> list[int]:
        return [promote.judge_challenger(name, c, folder, Gate(), registry.address).look for c in challengers]

    assert looks(3, 4, 3) == [1, 2, 1]
    verdict = promote.judge_challenger(name, 2, folder, Gate(), registry.address)
    assert (verdict.look, verdict.sure) == (3, compute_look_level(3, 0.95))
    assert verdict.promoted
    settled(registry, verdict)
    assert looks(5) == [1], "a new champion begins anew"
    promote.rollback(name, address=registry.address)
    assert looks(5, 2) == [4, 3], "one that is rolled back to goes on where it was"


def test_a_look_at_which_nothing_is_decided_is_none(registry, pair, cloned):
    name = cloned(2, 1)
    few = json.loads((pair[1] / "sealed.json").read_text())["identity"]
    assert promote.judge_challenger(name, 2, registry.folder / "nowhere", Gate(), registry.address).promoted is None
    assert find_look_number(connect_store(registry.address), name, 1, 2, few) == 1


def test_rows_that_arrive_and_windows_that_move_on_make_no_look_fresh_and_a_new_seal_does(registry, cloned):
    name, client = cloned(2, 1), connect_store(registry.address)
    first = {"columns": ["a"], "target": "y", "salt": 3, "kind": "time", "cut": 10}
    keep_look(client, registry.address, name, 1, 2, first)
    for later, number in ((first | {"cut": 20}, 2), (first | {"salt": 4}, 1), (first | {"target": "z"}, 1)):
        assert find_look_number(client, name, 1, 3, later) == number
    given = {"columns": ["a"], "target": "y", "given": 17}
    keep_look(client, registry.address, name, 1, 2, given)
    assert find_look_number(client, name, 1, 3, given | {"given": 18}) == 2


def test_many_challengers_are_counted_though_few_are_remembered(registry, cloned):
    name, client, seal = cloned(2, 1), connect_store(registry.address), {"salt": 1}
    for challenger in range(2, REMEMBERED + 5):
        keep_look(client, registry.address, name, 1, challenger, seal)
    assert [find_look_number(client, name, 1, c, seal) for c in (REMEMBERED + 4, REMEMBERED + 5)] == [
        REMEMBERED + 3,
        REMEMBERED + 4,
    ]


# --- The score to publish --------------------------------------------------------------------------------------------


def test_the_published_score_comes_from_rows_that_arrived_since_the_last_opening(registry):
    """Week 2 brings 900 rows: half of them are sealed, and no earlier version had them sealed."""
    split = {"sealed": 0.5}
    registry.train("weekly", make_digits(slice(0, 800)), make_poor_model, split=split)
    trained = registry.train("weekly", make_digits(), make_good_model, split=split)
    verdict = gate(registry, "weekly", trained)
    rows = comparison.read_sealed_rows(trained[1])
    before = load_version("weekly/1", registry.address).row_keys["sealed"]
    fresh = ~np.isin(rows.keys, before)
    assert 200 <= fresh.sum() < len(rows.keys)
    assert verdict.published.rows == fresh.sum()
    assert "arrived since" in verdict.published.mark
    assert verdict.published.score.value != verdict.challenger.value


def test_an_earlier_version_without_row_keys_makes_no_row_fresh(registry):
    split = {"sealed": 0.5}
    registry.train("unkept", make_digits(slice(0, 800)), make_poor_model, split=split)
    version = connect_store(registry.address).get_model_version("unkept", "1")
    registry.train("unkept", make_digits(slice(0, 800)), make_poor_model, split=split)
    where = version.source.rpartition("/")[2]
    (kept,) = registry.folder.rglob(f"{where}/artifacts/row_keys.npz")
    os.remove(kept)
    promote.promote("unkept", 2, address=registry.address)
    verdict = gate(registry, "unkept", registry.train("unkept", make_digits(), make_good_model, split=split))
    assert verdict.promoted is True
    assert verdict.published.mark.startswith("chosen on these rows")


# --- A person's word -------------------------------------------------------------------------------------------------


@pytest.fixture
def four(cloned):
    """The name of a model with four versions, the first of them champion."""
    return cloned(2, 2, 2, 2)


def champion(registry, name):
    return aliases(registry, name).get("champion")


def test_rollbacks_walk_back_and_a_promotion_goes_on_from_there(registry, four):
    for version in (2, 3):
        promote.promote(four, version, "why not", "bob", registry.address)
    back = promote.rollback(four, "slow", "ann", registry.address)
    assert (back.kind, back.before, back.after, back.who, back.why) == ("rollback", 3, 2, "ann", "slow")
    assert aliases(registry, four) == {"champion": 2, "challenger": 3}
    assert promote.rollback(four, address=registry.address).after == 1
    with pytest.raises(InputError, match="no earlier champion"):
        promote.rollback(four, address=registry.address)
    promote.promote(four, 4, address=registry.address)
    assert promote.rollback(four, address=registry.address).after == 1
    assert told(registry, four) == [
        ("first", None, 1), ("promote", 1, 2), ("promote", 2, 3), ("rollback", 3, 2), ("rollback", 2, 1),
        ("promote", 1, 4), ("rollback", 4, 1),
    ]  # fmt: skip


def test_promotion_without_a_version_takes_the_challenger(registry, four):
    connect_store(registry.address).set_registered_model_alias(four, "challenger", "3")
    move = promote.promote(four, why="told to", who="bob", address=registry.address)
    assert (move.after, move.how, move.who, move.why) == (3, "manual", "bob", "told to")
    with pytest.raises(InputError, match="is the champion already"):
        promote.promote(four, 3, address=registry.address)


def test_a_deleted_version_is_passed_over_with_a_word(registry, four):
    for version in (2, 3):
        promote.promote(four, version, address=registry.address)
    connect_store(registry.address).delete_model_version(four, "2")
    move = promote.rollback(four, "slow", address=registry.address)
    assert move.after == 1
    assert "Version 2 is passed over" in move.why
    assert move.why.startswith("slow")


def test_a_deleted_champion_can_be_rolled_back(registry, four):
    promote.promote(four, 2, address=registry.address)
    connect_store(registry.address).delete_model_version(four, "2")
    assert champion(registry, four) is None
    assert promote.rollback(four, address=registry.address).after == 1


@pytest.mark.parametrize("digest", ["0" * 64, None], ids=["another digest", "no digest"])
def test_what_is_not_as_registered_is_neither_promoted_nor_rolled_back_to(registry, four, digest):
    client = connect_store(registry.address)
    promote.promote(four, 2, address=registry.address)
    promote.promote(four, 3, address=registry.address)
    for version in ("2", "4"):
        if digest is None:
            client.delete_model_version_tag(four, version, "nestor.digest")
        else:
            client.set_model_version_tag(four, version, "nestor.digest", digest)
    before = told(registry, four)
    with pytest.raises(NestorError, match="not loaded"):
        promote.promote(four, 4, address=registry.address)
    assert told(registry, four) == before
    assert promote.rollback(four, address=registry.address).after == 1


def test_a_move_made_in_mlflow_itself_is_found_and_can_be_rolled_back(registry, four):
    promote.promote(four, 2, address=registry.address)
    connect_store(registry.address).set_registered_model_alias(four, "champion", "4")
    assert told(registry, four)[-1] == ("outside", 2, 4)
    assert promote.rollback(four, address=registry.address).after == 2
    assert told(registry, four)[-2:] == [("outside", 2, 4), ("rollback", 4, 2)]


def test_an_unknown_model_or_version_is_told(registry, four):
    with pytest.raises(InputError, match="No version of"):
        promote.promote(four, 9, address=registry.address)
    with pytest.raises(InputError, match=r"No alias of .* 'challenger'"):
        promote.promote(four, address=registry.address)
    with pytest.raises(InputError, match="No model"):
        promote.rollback("nobody", address=registry.address)


def test_a_long_reason_is_cut_and_kept(registry, four):
    promote.promote(four, 2, "\x01" * 9_000, "\x02" * 300, registry.address)
    assert len(list_champion_moves(four, registry.address)[0]["why"]) == moves.WHY
    tag = connect_store(registry.address).get_registered_model(four).tags["nestor.move.0002"]
    assert len(tag) <= 5_000, "what the registry's database takes"


# --- Kills -----------------------------------------------------------------------------------------------------------

WRITES = (
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_model_version_tag",
)


class Killed(BaseException):
    """Stands for a kill: nothing after it is done."""


def killed_at(monkeypatch, step):
    """From the write number `step` on, MLflow takes nothing; how many writes there were."""
    count = [0]

    def wrap(method):
        def write(*args, **kwargs):
            count[0] += 1
            if count[0] >= step:
                raise Killed
            return method(*args, **kwargs)

        return write

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, wrap(getattr(MlflowClient, name)))
    return count


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_kill_between_any_two_steps_leaves_a_true_history(registry, four, step):
    promote.promote(four, 2, address=registry.address)
    with pytest.MonkeyPatch.context() as patch:
        count = killed_at(patch, step)
        try:
            promote.promote(four, 3, address=registry.address)
        except Killed:
            assert step <= 4
        else:
            assert (step, count[0]) == (5, 4), "the steps are: begun, champion, challenger, done"
    moved = champion(registry, four) == 3
    assert moved == (step > 2)
    whole = [("first", None, 1), ("promote", 1, 2)]
    assert told(registry, four) == whole + [("promote", 2, 3)] * moved
    promote.promote(four, 4, address=registry.address)
    whole += [("promote", 2, 3), ("promote", 3, 4)] if moved else [("promote", 2, 4)]
    assert told(registry, four) == whole
    assert aliases(registry, four) == {"champion": 4, "challenger": 3 if moved else 2}
    assert promote.rollback(four, address=registry.address).after == (3 if moved else 2)


@pytest.fixture(scope="module")
def decided(registry, pair):
    """The challenger of `pair` and the gate's verdict on it."""
    return pair, gate(registry, "pair", pair)


@pytest.mark.parametrize("step", range(1, 13))
def test_a_gate_that_is_killed_and_asked_again_settles_the_same(registry, decided, step):
    """Six tags of the verdict, the published score, and the four steps of the move."""
    name, (_, found) = f"settle{step}", decided
    client = connect_store(registry.address)
    client.create_registered_model(name)
    for version in ("1", "2"):
        source = client.get_model_version("pair", version)
        client.create_model_version(name, source.source, tags=source.tags)
    moves.move_champion(client, name, 1, "first", "ann")
    verdict = Verdict.from_json({**found.as_json(), "name": name})
    with pytest.MonkeyPatch.context() as patch:
        count = killed_at(patch, step)
        try:
            settled(registry, verdict)
        except Killed:
            assert step <= 11
        else:
            assert (step, count[0]) == (12, 11)
    assert told(registry, name) == [("first", None, 1)] + [("promote", 1, 2)] * (champion(registry, name) == 2)
    move = settled(registry, verdict)
    assert (move.before, move.after) == (1, 2)
    assert told(registry, name) == [("first", None, 1), ("promote", 1, 2)]
    assert aliases(registry, name) == {"champion": 2, "challenger": 1}
    assert "nestor.published" in tags(registry, name, 2)


def test_a_champion_from_before_there_was_a_history_is_written_down_at_the_next_move(registry, four):
    client = connect_store(registry.address)
    client.delete_registered_model_tag(four, "nestor.move.0001")
    assert told(registry, four) == [("outside", None, 1)]
    promote.promote(four, 2, address=registry.address)
    assert told(registry, four) == [("outside", None, 1), ("promote", 1, 2)]
    assert promote.rollback(four, address=registry.address).after == 1
