"""Versions whose model can only be pickled, since skops can't hold what a family made (`Family.safe=False`).

Loading a pickle runs whatever code it names. So such a version carries the tag `nestor.unsafe`, never becomes champion
by itself, and is loaded only where a person says so."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import InputError, NestorError, join_names
from models.families import load_families

TAG = "nestor.unsafe"

FORM = ".pkl"
"""Ending of a pickled model's file."""


def explain_pickle(names: Sequence[str]) -> str:
    """`It holds tabm, whose models can only be pickled: ...`"""
    return (
        f"It holds {join_names(names)}, whose models can only be pickled: loading a pickle runs whatever code it "
        "names, so "
        "a person has to say that this is wanted."
    )


def make_refusal_error(label: str, names: Sequence[str]) -> InputError:
    """The error where nobody said that the pickle may be loaded."""
    return InputError(
        f"{label} is not loaded. {explain_pickle(names)} Say --unsafe (in settings `unsafe: true`) if you trust who "
        "made it."
    )


def dump_pickle(model: Any, file: Path) -> None:
    """Writes the model as MLflow pickles it."""
    with file.open("wb") as stream:
        pickle.dump(model, stream, protocol=pickle.DEFAULT_PROTOCOL)


def load_pickle(file: Path, label: str, names: Sequence[str]) -> Any:
    """The model; InputError where a family's package is missing, NestorError where its parts are not those of then."""
    for name in names:
        if name in load_families() and not load_families()[name].installed:
            raise InputError(f"{label} can't be loaded here: {load_families()[name].lack}")
    with _silence_logs():
        try:
            with file.open("rb") as stream:
                return pickle.load(stream)
        except (ImportError, AttributeError) as error:
            raise NestorError(
                f"{label} can't be unpickled here: {error}. Its requirements.txt says with which versions it was made."
            ) from error


@contextmanager
def _silence_logs() -> Iterator[None]:
    """What is imported inside logs warnings and errors only, for good: some libraries tell of each prediction."""
    names = set(logging.root.manager.loggerDict)
    yield
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name not in names and isinstance(logger, logging.Logger) and logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


class _ModuleUnpickler(pickle.Unpickler):
    """An unpickler that writes down which modules it was sent to."""

    modules: set[str]

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        self.modules.add(module_name.partition(".")[0])
        return super().find_class(module_name, global_name)


def find_pickle_modules(file: Path) -> set[str]:
    """Top-level modules of every class and function that a pickle of our own names: it is loaded, which also shows that
    it can be."""
    with file.open("rb") as stream:
        reader = _ModuleUnpickler(stream)
        reader.modules = set()
        reader.load()
    return reader.modules
