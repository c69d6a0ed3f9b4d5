"""What a model's first run fixes about its sealed rows, kept for the later ones as tags of the experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.splitting.seal import digest_values
from models.splitting.sealing import is_same_seal
from tasks.tracking.mirror.described import SHARED
from tasks.tracking.mirror.writer import MlflowMirror
from tasks.tracking.store import ensure_experiment, lock_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "nestor.seal"
MOST = 15_000
"""Characters that a tag is given at most; MLflow holds 20,000. What is longer stands in several."""
REMEMBERED = 50
"""Of all that were counted the latest, which may be told again."""


def count_once(count: int, last: Sequence[Any], item: Any) -> tuple[int, list[Any]]:
    """How many there were and the latest of them, `item` included; one of the latest is told again and counts once."""
    return (count, [*last]) if item in last else (count + 1, [*last, item][-REMEMBERED:])


def seal_settings(mirror: MlflowMirror, name: str = "") -> dict[str, Any] | None:
    """How the first run of this name sealed its test rows; None before it did."""
    return _read_settings(mirror.client.get_experiment(_find_experiment(mirror, name)).tags)


def read_seal_settings(client: MlflowClient, name: str) -> dict[str, Any] | None:
    """The same of any process; nothing is made in the store."""
    experiment = client.get_experiment_by_name(name)
    return None if experiment is None else _read_settings(experiment.tags)


def keep_seal_settings(mirror: MlflowMirror, settings: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Keeps the settings unless there are some already of another seal that they do not replace; those that hold from
    now on."""
    experiment_id = _find_experiment(mirror, name)
    with lock_store(mirror.address):
        record = _read_settings(mirror.client.get_experiment(experiment_id).tags)
        if record is not None and is_same_seal(record, settings):
            cuts = [seal["cut"] for seal in (record, settings) if seal.get("cut") is not None]
            settings = {**settings, "cut": max(cuts, default=None)}  # it only ever moves forward
        elif record is not None and settings.get("number", 1) <= record.get("number", 1):
            return record
        if settings != record:
            _write_settings(mirror.client, experiment_id, json.dumps(settings))
        return settings


def _read_settings(tags: Mapping[str, str]) -> dict[str, Any] | None:
    text = tags.get(TAG)
    if text is None:
        return None
    settings = json.loads(text)
    return json.loads("".join(tags[tag] for tag in settings["parts"])) if "parts" in settings else settings


def _write_settings(client: MlflowClient, experiment_id: str, text: str) -> None:
    """Writes the tag; of a wide table its parts first, under names of their own, so that a kill leaves a whole one."""
    if len(text) > MOST:
        parts = {
            f"{TAG}.{digest_values(text):016x}.{start}": text[start : start + MOST]
            for start in range(0, len(text), MOST)
        }
        for tag, part in parts.items():
            client.set_experiment_tag(experiment_id, tag, part)
        text = json.dumps({"parts": list(parts)})
    client.set_experiment_tag(experiment_id, TAG, text)


def count_opening(mirror: MlflowMirror, seal_id: str, name: str = "") -> int:
    """How many runs have opened that seal, this one included; a resumed run counts once."""
    experiment_id = _find_experiment(mirror, name)
    with lock_store(mirror.address):
        tags = mirror.client.get_experiment(experiment_id).tags
        seals = json.loads(tags.get("nestor.openings", "{}"))
        before, latest = seals.get(seal_id, (0, []))
        count, last = count_once(before, latest, mirror.run_key[:12])
        if count > before:
            mirror.client.set_experiment_tag(
                experiment_id, "nestor.openings", json.dumps({**seals, seal_id: (count, last)})
            )
        return count


def count_decision(client: MlflowClient, address: str, identity: Mapping[str, Any], meeting: str) -> int:
    """How often these sealed rows have decided between two versions of whatever name, this meeting included; one that
    is told again counts once."""
    # MLflow's own first experiment holds what is counted across names.
    experiment_id = ensure_experiment(client, address, SHARED)
    tag = f"nestor.decisions.{digest_values(sorted(identity.items())):016x}"
    with lock_store(address):
        record = json.loads(client.get_experiment(experiment_id).tags.get(tag, '{"count": 0, "last": []}'))
        count, last = count_once(record["count"], record["last"], meeting)
        if count > record["count"]:
            seal = {k: v for k, v in identity.items() if k != "columns"}  # a wide table's are longer than a tag
            client.set_experiment_tag(experiment_id, tag, json.dumps({"seal": seal, "count": count, "last": last}))
        return count


def _find_experiment(mirror: MlflowMirror, name: str) -> str:
    is_same = not name or name == mirror.name
    return mirror.experiment_id if is_same else ensure_experiment(mirror.client, mirror.address, name)
