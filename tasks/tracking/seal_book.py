"""How the rows of one model's name are sealed, for a run at work: as earlier runs fixed it, as this one draws it, and
whether MLflow, which other machines ask, holds the same."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from models.errors import NestorError
from models.splitting.sealing import is_same_seal
from tasks.run.folder import Workdir
from tasks.run.journal import Journal
from tasks.tracking import seal_copy

_AGREE = 10.0
"""Seconds that a run waits at most to hear whether MLflow holds another seal of its name."""


class SealBook:
    """The seal of one name."""

    def __init__(self, name: str, folder: Workdir, journal: Journal):
        """The book of this name, for the run in this folder."""
        self.name, self.folder, self.journal = name, folder, journal
        self.store_is_new = seal_copy.lacks_store(journal.tracking_uri)
        self._writer: threading.Thread | None = None
        self._in_mlflow: dict[str, Any] | None = None

    @cached_property
    def earlier(self) -> dict[str, Any] | None:
        """How this name's rows were sealed before: by this run, before it was resumed, else by earlier ones."""
        settings = self.folder.read_fixed(self.folder.read_json, "seal.json")
        return settings or seal_copy.find_seal_settings(self.name, self.journal.tracking_uri, self.ask_store)

    def ask_store(self) -> dict[str, Any] | None:
        """The seal that MLflow holds; a store that was not there when the run began holds none."""
        return None if self.store_is_new else self.journal.call("seal_settings", name=self.name)

    def write(self, settings: Mapping[str, Any]) -> None:
        """Writes the seal down for this run and for later ones, and has MLflow keep it, without waiting for that."""
        record = seal_copy.keep_seal_copy(self.name, self.journal.tracking_uri, settings)
        self.folder.write_json("seal.json", record)

        def tell_mlflow() -> None:
            with suppress(NestorError):  # the store is down: the copy of our own holds until a later run
                self._in_mlflow = self.journal.call("keep_seal_settings", settings=record, name=self.name)

        self._writer = threading.Thread(target=tell_mlflow, daemon=True)
        self._writer.start()

    def agree(self) -> None:
        """Waits until MLflow holds the seal. NestorError where the name has another one there, which a run elsewhere
        has drawn, and nothing was trained yet."""
        if self._writer is None or self.folder.has_trials or self.store_is_new:
            return
        self._writer.join(_AGREE)
        theirs, ours = self._in_mlflow, self.folder.read_json("seal.json")
        if theirs is None or (is_same_seal(theirs, ours) and theirs.get("cut") == ours.get("cut")):
            return
        seal_copy.keep_seal_copy(self.name, self.journal.tracking_uri, theirs)
        (self.folder.path / "seal.json").unlink()
        raise NestorError(
            f"The rows of {self.name} are sealed otherwise in MLflow than in this folder: another run has drawn seal "
            f"number {theirs.get('number', 1)} ({theirs.get('why', 'its first')}). Nothing was trained. The same "
            "command again goes by that seal."
        )
