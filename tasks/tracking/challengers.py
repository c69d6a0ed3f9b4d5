"""How many challengers a champion has met, kept as a tag of its version: it says what level the next look has.

Counted for each seal, whichever of its rows were left: rows that arrive and windows that move on make no look fresh,
since a champion that is challenged often enough falls by chance on any rows. A new seal begins anew, and so does a new
champion; one that is rolled back to goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.splitting.seal import digest_values
from tasks.tracking.seal import count_once
from tasks.tracking.store import lock_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "nestor.looks"


def find_look_number(
    client: MlflowClient, name: str, champion: int, challenger: int, identity: Mapping[str, Any]
) -> int:
    """Which look at sealed rows it is when that challenger meets that champion, counted from 1."""
    return _compute_look_number(_read_looks(client, name, champion).get(_make_seal_key(identity), {}), challenger)


def keep_look(
    client: MlflowClient, address: str, name: str, champion: int, challenger: int, identity: Mapping[str, Any]
) -> None:
    """Writes down that the two have met, and something was decided."""
    with lock_store(address):
        looks, seal = _read_looks(client, name, champion), _make_seal_key(identity)
        before = looks.get(seal, {}).get("count", 0)
        count, last = count_once(before, looks.get(seal, {}).get("last", []), challenger)
        if count > before:
            looks[seal] = {"count": count, "last": last}
            client.set_model_version_tag(name, str(champion), TAG, json.dumps(looks))


def _compute_look_number(record: Mapping[str, Any], challenger: int) -> int:
    count, last = record.get("count", 0), record.get("last", [])
    return count - len(last) + 1 + last.index(challenger) if challenger in last else count + 1


def _read_looks(client: MlflowClient, name: str, champion: int) -> dict[str, Any]:
    return json.loads(client.get_model_version(name, str(champion)).tags.get(TAG, "{}"))


def _make_seal_key(identity: Mapping[str, Any]) -> str:
    """What remains of the sealed rows' identity while rows come and go."""
    parts = {k: v for k, v in identity.items() if k not in ("cut", "given", "columns")}
    return f"{digest_values(sorted(parts.items())):016x}"
