"""Every error a user can meet, each with the exit code that `nestor` ends with.

NestorError             1   something failed that the user could not know
├── Skipped             1   another run does the same just now
├── InputError          2   what the user gave is wrong: the table, a column, an option
├── BudgetError         3   the budget was too small for any model
└── Interrupted       130   Ctrl-C or a cancelled run; what is finished is kept
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from models.text.address import mask_text
from models.text.safe import shorten, to_printable


class NestorError(Exception):
    """What was asked, what is allowed, what came, what to do: one message, shown without a traceback."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """An error with this message, without what may be secret in its addresses and what a terminal obeys: it is
        shown, logged, kept, and told by Prefect."""
        super().__init__(to_printable(mask_text(message)))


class SkippedRunError(NestorError):
    """Nothing was done, as another run does the same just now. Of a schedule's slot it is no failure."""


class InputError(NestorError):
    """The user's input is wrong."""

    exit_code = 2


class BudgetError(NestorError):
    """The time given was too little for any model; the message says what the table would need."""

    exit_code = 3


class InterruptedRunError(NestorError):
    """The run was stopped by the user; `--resume` goes on from here."""

    exit_code = 130


def join_names(names: Iterable[object], most: int = 8, width: int = 40) -> str:
    """The names as one bounded, comma-separated text: at most `most` of them, each cut at `width` characters."""
    all_names = [shorten(name, width) for name in names]
    rest = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {rest} more" if rest > 0 else "")


def make_unknown_error(kind: str, word: object, known: Iterable[object]) -> InputError:
    """`No family 'lniear'. Did you mean linear?`; where nothing is near, what is known; else that there is none."""
    hint = suggest_names(word, known)
    return InputError(f"No {kind} {shorten(word)!r}" + (f".{hint}" if hint else ": there is none."))


def suggest_names(word: object, known: Iterable[object], label: str = "Known", most: int = 60) -> str:
    """` Did you mean linear?` for the likely ones of the known names, else ` Known: ...`; empty where none is known."""
    folded = {str(name).casefold(): name for name in known}
    near = difflib.get_close_matches(str(word).casefold().strip(), list(folded), 3, 0.6)
    if near:
        return f" Did you mean {join_names(folded[name] for name in near)}?"
    return f" {label}: {join_names(folded.values(), most)}." if folded else ""
