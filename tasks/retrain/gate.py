"""Champion against challenger, promotion and rollback.

`judge_challenger` scores and decides and moves nothing; `settle_verdict` moves the alias or keeps it, and writes both
down. Between the two a person may be asked. `promote` and `rollback` are a person's word."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.config import Gate
from models.errors import InputError, NestorError
from models.evaluation.gate import CHOSEN, MOST_USES, Verdict, make_undecided_verdict
from models.outcome import format_number
from tasks.registry import pickles
from tasks.registry.load import LoadedVersion, find_version, load_version
from tasks.retrain.comparison import SealedRows, compare, mark_known_rows, read_sealed_rows
from tasks.run.journal import find_default_address
from tasks.tracking import moves
from tasks.tracking.challengers import find_look_number, keep_look
from tasks.tracking.moves import Move, whoami
from tasks.tracking.seal import count_decision
from tasks.tracking.store import connect_store, lock_store

if TYPE_CHECKING:
    from mlflow import MlflowClient


# --- The gate --------------------------------------------------------------------------------------------------------


def judge_challenger(
    name: str,
    challenger_version: int,
    workdir: Path,
    gate: Gate,
    address: str | None = None,
    unsafe: bool = False,
) -> Verdict:
    """The verdict on the challenger, made by the run in `workdir`, against the champion of today. Moves nothing.

    The two meet on the run's sealed rows; that these decided is counted. A challenger that is a pickle is left to a
    person; a champion that is one is loaded where `unsafe` says so."""
    address = address or find_default_address()
    client = connect_store(address)
    champion = moves.find_champion(client, name)
    parties: dict[str, Any] = {"name": name, "champion_version": champion, "challenger_version": challenger_version}
    if champion is None:
        return make_undecided_verdict(gate, f"{name} has no champion to meet.", **parties)
    if champion == challenger_version:
        return make_undecided_verdict(gate, f"Version {champion} is the champion itself.", **parties)
    rows = read_sealed_rows(workdir)
    if rows is None:
        return make_undecided_verdict(gate, "The run sealed no rows on which the two could meet.", **parties)
    if pickles.TAG in client.get_model_version(name, str(challenger_version)).tags:
        return make_undecided_verdict(gate, _explain_no_promotion(name, challenger_version), **parties)
    pair = (champion, challenger_version)
    ours, theirs = (load_version(f"{name}/{version}", address, tested=True, unsafe=unsafe) for version in pair)
    number = find_look_number(client, name, *pair, rows.identity)
    rows = replace(rows, fresh=~_mark_seen_rows(client, theirs, rows))
    verdict = replace(
        compare(
            ours, theirs, rows, gate, (measure_version_size(client, ours), measure_version_size(client, theirs)), number
        ),
        **parties,
    )
    if verdict.promoted is None:
        return verdict
    keep_look(client, address, name, *pair, rows.identity)
    uses = count_decision(client, address, rows.identity, f"{name}/{champion}-{challenger_version}")
    score = verdict.published
    if score is not None and score.mark == CHOSEN:
        score = replace(score, mark=f"{CHOSEN}, use {uses}")
    return replace(verdict, uses=uses, notes=(*verdict.notes, _describe_seal_use(uses)), published=score)


def _explain_no_promotion(name: str, version: int) -> str:
    return (
        f"Version {version} holds a family whose models can only be pickled, so it is not promoted by itself: "
        f"nestor promote {name}/{version} --unsafe."
    )


def measure_version_size(client: MlflowClient, loaded: LoadedVersion) -> float:
    """Megabytes of the model that consumers load."""
    from mlflow.artifacts import list_artifacts

    uri = client.get_model_version_download_uri(loaded.name, str(loaded.version))
    return sum(f.file_size or 0 for f in list_artifacts(artifact_uri=uri) if _is_model_file(f.path)) / 1e6


def _is_model_file(path: str) -> bool:
    return path.endswith(("model.skops", f"model{pickles.FORM}"))


def _describe_seal_use(uses: int) -> str:
    sentence = f"These sealed rows have decided {'once' if uses == 1 else f'{uses:,} times'} so far."
    if uses <= MOST_USES:
        return sentence
    return f"{sentence} That wears them out: draw a new seal (nestor retrain --new-seal)."


def _mark_seen_rows(client: MlflowClient, challenger: LoadedVersion, rows: SealedRows) -> np.ndarray:
    """True where a sealed row was sealed for an earlier version; everywhere, where that can't be told of one."""
    mask = np.zeros(len(rows.keys), bool)
    for version in client.search_model_versions(f"name = '{challenger.name}'"):
        if int(version.version) < challenger.version:
            version_mask = mark_known_rows(_read_row_keys(client, version.name, str(version.version)), rows, "sealed")
            mask |= True if version_mask is None else version_mask
    return mask


def _read_row_keys(client: MlflowClient, name: str, version: str) -> dict[str, np.ndarray]:
    """The row keys of a version without its model; empty where it keeps none."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    uri = client.get_model_version_download_uri(name, version)
    if not any(f.path.endswith("row_keys.npz") for f in list_artifacts(artifact_uri=uri)):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = download_artifacts(artifact_uri=f"{uri}/row_keys.npz", dst_path=folder)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)


# --- Moves -----------------------------------------------------------------------------------------------------------


def settle_verdict(
    verdict: Verdict, approved: bool | None = None, who: str | None = None, why: str = "", address: str | None = None
) -> Move | None:
    """Moves the alias as the verdict says, or as the person who was asked (`approved`) says; None where the champion
    stays. The verdict is written on both versions, the move in the history. Called again it changes nothing.

    NestorError where another version became champion since the verdict."""
    address = address or find_default_address()
    client, name, challenger = connect_store(address), verdict.name, verdict.challenger_version
    if challenger is None or verdict.champion_version in (None, challenger):
        return None
    who = who or whoami()
    promoted = verdict.promoted is True if approved is None else approved
    with lock_store(address):
        history, champion = moves.mend_moves(client, name), moves.find_champion(client, name)
        if promoted and champion == challenger:  # an earlier attempt came this far
            return history[-1]
        if champion != verdict.champion_version:
            raise NestorError(
                f"Version {champion} became champion of {name} since version {challenger} met version "
                f"{verdict.champion_version}: nothing is moved. Let the two meet anew."
            )
        _write_verdict(client, verdict, {"promoted": promoted, "approved": approved, "who": who, "why": why})
        if not promoted:
            client.set_registered_model_alias(name, "challenger", str(challenger))
            return None
        method = "gate" if approved is None else "approved"
        return moves.move_champion(
            client, name, challenger, "promote", who, why or _describe_gain(verdict), method, _list_numbers(verdict)
        )


def _write_verdict(client: MlflowClient, verdict: Verdict, settlement: dict[str, Any]) -> None:
    """The verdict and what came of it as tags of both versions; the published score as one of whoever is promoted."""
    tags = {
        "nestor.verdict": json.dumps(verdict.as_json()),
        "nestor.verdict_sentence": verdict.sentence,
        "nestor.settled": json.dumps({**settlement, "when": time.time()}),
    }
    for version in (verdict.champion_version, verdict.challenger_version):
        for key, value in tags.items():
            client.set_model_version_tag(verdict.name, str(version), key, value)
    if settlement["promoted"] and verdict.published is not None:
        record = asdict(verdict.published)
        record |= record.pop("score")
        version = str(verdict.challenger_version)
        client.set_model_version_tag(verdict.name, version, "nestor.published", json.dumps(record))


def _describe_gain(verdict: Verdict) -> str:
    if verdict.gain is None:
        return ""
    gain, low = format_number(verdict.gain.value), format_number(verdict.gain.low)
    sentence = f"The gain in {verdict.metric} is {gain} on {verdict.rows:,} rows"
    return f"{sentence}, and above {low} with {verdict.confidence}."


def _list_numbers(verdict: Verdict) -> dict[str, Any]:
    """The verdict's numbers, few enough for a tag of the history."""
    facts: dict[str, Any] = {"rule": verdict.rule, "metric": verdict.metric, "rows": verdict.rows, "uses": verdict.uses,
                             "look": verdict.look, "level": verdict.sure}  # fmt: skip
    if verdict.gain is not None and verdict.champion is not None and verdict.challenger is not None:
        facts |= {"gain": verdict.gain.value, "low": verdict.gain.low, "champion": verdict.champion.value,
                  "challenger": verdict.challenger.value}  # fmt: skip
    return facts


def promote(
    name: str,
    version: int | None = None,
    why: str = "",
    who: str | None = None,
    address: str | None = None,
    unsafe: bool = False,
) -> Move:
    """Makes a version (None: the challenger) champion on a person's word; a pickle only where `unsafe` says so.

    InputError where there is none such or it is champion already, NestorError where its files are not those that were
    registered."""
    address = address or find_default_address()
    client = connect_store(address)
    loaded = load_version(f"{name}@challenger" if version is None else f"{name}/{version}", address, unsafe=unsafe)
    with lock_store(address):
        if moves.find_champion(client, name) == loaded.version:
            raise InputError(f"{name}/{loaded.version} is the champion already.")
        return moves.move_champion(client, name, loaded.version, "promote", who or whoami(), why)


def rollback(name: str, why: str = "", who: str | None = None, address: str | None = None) -> Move:
    """Makes the previous champion champion again; asked again, the one before that. One that was deleted, or whose
    files are not those that were registered, is passed over with a word. InputError where there is no other."""
    address = address or find_default_address()
    client = connect_store(address)
    find_version(client, name)
    champion = moves.find_champion(client, name)
    target, notes = _find_previous_champion(client, name, champion, address)
    if target is None:
        raise InputError(" ".join([f"{name} has no earlier champion to go back to.", *notes]))
    with lock_store(address):
        if moves.find_champion(client, name) != champion:
            raise NestorError(f"The champion of {name} changed just now: nothing is moved. See `nestor runs {name}`.")
        return moves.move_champion(client, name, target, "rollback", who or whoami(), " ".join([why, *notes]).strip())


def _find_previous_champion(
    client: MlflowClient, name: str, champion: int | None, address: str
) -> tuple[int | None, list[str]]:
    """The champion to go back to, and a sentence for each that is passed over."""
    notes: list[str] = []
    champions = dict.fromkeys(reversed(moves.trace_champions(moves.list_moves(client, name))))
    for version in champions:
        if version == champion:
            continue
        try:
            load_version(f"{name}/{version}", address)
        except NestorError as error:
            notes.append(f"Version {version} is passed over: {error}")
            continue
        return version, notes
    return None, notes
