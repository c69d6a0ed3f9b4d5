"""Who was champion when: every move of the alias, each a tag of the registered model (`nestor.move.0007`).

A move is written down first as begun, then the alias moves in one transaction, then the move is done. So a kill between
any two steps leaves a true history: a move that was begun happened if the alias points where it says, else it did not.
A move that somebody makes in MLflow itself is found by the next look.

Whoever reads to write again holds `store.lock_store`: these functions take no lock."""

from __future__ import annotations

import getpass
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from models.text.safe import shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "nestor.move."
WHO, WHY = 100, 600
"""Characters of a name and of a reason. MLflow's database holds 5,000 of a tag, and JSON may take six for one."""

Kind = Literal["first", "promote", "rollback", "outside"]


@dataclass(frozen=True)
class Move:
    """One move of the alias `champion`."""

    number: int
    kind: Kind
    """`outside`: somebody moved the alias without Nestor."""
    before: int | None
    """Version that was champion."""
    after: int
    """Version that is champion since."""
    who: str
    when: float
    """Unix seconds."""
    why: str = ""
    how: Literal["gate", "approved", "manual", "register"] = "manual"
    """Who decided: the gate's rule, a person whom the gate asked, a person, or nobody (the first of its name)."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What the gate measured."""
    done: bool = True

    def as_json(self) -> dict[str, Any]:
        """Plain values, `from` and `to` by their names."""
        return {
            "number": self.number, "kind": self.kind, "how": self.how, "from": self.before, "to": self.after,
            "who": self.who, "when": self.when, "why": self.why, "gate": self.numbers or None,
        }  # fmt: skip


def whoami() -> str:
    """The person at work here, as `user@host`."""
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"{os.getuid()}@{platform.node()}"


def find_champion(client: MlflowClient, name: str) -> int | None:
    """The version that is champion; None without one."""
    version = client.get_registered_model(name).aliases.get("champion")
    return int(version) if version else None


def list_moves(client: MlflowClient, name: str) -> list[Move]:
    """The moves that happened, oldest first; none where nothing is registered by that name."""
    if not client.search_registered_models(f"name = '{name}'"):
        return []
    return _select_happened(_read_moves(client, name), find_champion(client, name))


def trace_champions(moves: Sequence[Move]) -> list[int]:
    """The champions behind the present one, it included, as a rollback walks them: each goes back by one."""
    champions: list[int] = []
    for move in moves:
        if move.kind == "rollback":
            while champions and champions[-1] != move.after:
                champions.pop()
        if champions[-1:] != [move.after]:
            champions.append(move.after)
    return champions


def move_champion(
    client: MlflowClient,
    name: str,
    to: int,
    kind: Kind,
    who: str,
    why: str = "",
    how: Literal["gate", "approved", "manual", "register"] = "manual",
    numbers: Mapping[str, Any] | None = None,
) -> Move:
    """Makes the version champion and writes it down; who was it becomes challenger."""
    moves = mend_moves(client, name)
    move = Move(
        (moves[-1].number if moves else 0) + 1, kind, find_champion(client, name), to, shorten(who, WHO), time.time(),
        shorten(why, WHY), how, dict(numbers or {}), done=False,
    )  # fmt: skip
    _write_move(client, name, move)
    client.set_registered_model_alias(name, "champion", str(to))
    return _finish_move(client, name, move)


def mend_moves(client: MlflowClient, name: str) -> list[Move]:
    """The moves that happened, and the tags made to say so: what a kill left half done, what others did in MLflow."""
    records, champion = _read_moves(client, name), find_champion(client, name)
    moves = _select_happened(records, champion)
    for move in records:
        if move.number not in {m.number for m in moves}:
            client.delete_registered_model_tag(name, _make_tag_name(move))
    for move in moves:
        if not move.done:
            _finish_move(client, name, move)
        elif move not in records:
            _write_move(client, name, move)
    return moves


def _select_happened(records: Sequence[Move], champion: int | None) -> list[Move]:
    moves = [m for m in records if m.done or m.after == champion]
    last = moves[-1] if moves else None
    if champion is None or (last is not None and last.after == champion):
        return moves
    number = max((m.number for m in records), default=0) + 1
    before = last.after if last else None
    return [
        *moves,
        Move(number, "outside", before, champion, "unknown", time.time(), "The alias was moved without Nestor."),
    ]


def _finish_move(client: MlflowClient, name: str, move: Move) -> Move:
    """The move with its last two steps done: the former champion becomes challenger, and the tag says done."""
    versions = {int(v.version) for v in client.search_model_versions(f"name = '{name}'")}
    if move.before in versions and move.before != move.after:
        client.set_registered_model_alias(name, "challenger", str(move.before))
    elif str(client.get_registered_model(name).aliases.get("challenger")) == str(move.after):
        client.delete_registered_model_alias(name, "challenger")
    result = replace(move, done=True)
    _write_move(client, name, result)
    return result


def _read_moves(client: MlflowClient, name: str) -> list[Move]:
    tags = client.get_registered_model(name).tags
    moves = [Move(**json.loads(text)) for key, text in tags.items() if key.startswith(TAG)]
    return sorted(moves, key=lambda move: move.number)


def _write_move(client: MlflowClient, name: str, move: Move) -> None:
    client.set_registered_model_tag(name, _make_tag_name(move), json.dumps(move.__dict__))


def _make_tag_name(move: Move) -> str:
    return f"{TAG}{move.number:04}"
