"""A version from the registry, checked and applied to new rows: read as its training table was, by chunks.

Whoever can write artifacts can put anything into a version's folder. Two things are not theirs: the digest, which is in
the registry, and the list of types, which is in this installation. A version is loaded from a copy of its own, once
both fit. A pickle has no list: it is loaded only where a person says so."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from models.config import Score
from models.errors import InputError, join_names
from tasks.data import fetch_data
from tasks.data.chunks import open_table, read_chunks
from tasks.registry.load import LoadedVersion, load_version
from tasks.scoring import forecast, predict
from tasks.scoring.intervals import make_interval_levels

if TYPE_CHECKING:
    pass

log = logging.getLogger("nestor.score")
T = TypeVar("T")

CHUNK = 50_000
"""Rows that are predicted at once."""


@dataclass(frozen=True)
class ScoreReport:
    """What a scoring did."""

    model: str
    version: int
    out: str
    """The file that holds the predictions."""
    data: str
    """What was read."""
    rows: int
    seconds: float
    """From reading the first row to the file in its place."""
    ignored: tuple[str, ...]
    """Columns of the input that the model does not know."""
    notes: tuple[str, ...]
    """What was decided about the input."""
    run_id: str | None = None
    """The run that made the model."""

    @property
    def remarks(self) -> list[str]:
        """The notes, and what was ignored, in sentences."""
        sentence = f"Columns that {self.model}/{self.version} does not know are ignored: {join_names(self.ignored)}."
        return [*self.notes, *([sentence] if self.ignored else [])]

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`: every key is always there."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """`5,000 rows in 2.1 s (2,400 rows/s) by loans/3: scored.csv`"""
        speed = f" ({self.rows / self.seconds:,.0f} rows/s)" if self.rows and self.seconds else ""
        return f"{self.rows:,} rows in {self.seconds:.1f} s{speed} by {self.model}/{self.version}: {self.out}"


def score(
    score: Score, address: str | None = None, told: Callable[[int, int | None], None] | None = None
) -> ScoreReport:
    """Writes a prediction for each row. `told` hears after each chunk how many rows are written, and of how many (None
    where only reading tells). Whatever breaks it off, the output file is whole or as it was before."""
    moment = datetime.now().astimezone()
    path = predict.resolve_output(score.out, moment)
    loaded = load_version(score.model, address, unsafe=score.unsafe)
    intervals = make_interval_levels(score.intervals, loaded.conformal, loaded.label)
    with tempfile.TemporaryDirectory(prefix="nestor-", ignore_cleanup_errors=True) as folder:
        data = fetch_data(score.data, score.query, score.bound, folder=Path(folder), now=moment)
        start, table, speller = time.monotonic(), open_table(data), loaded.make_speller()
        keep, types = score.keep, predict.list_output_columns(loaded.model, intervals)
        if (history := loaded.history) is None:
            keep = _check_kept_columns(keep, types)
            parts, sentences, count = read_chunks(loaded.reading, table, score.chunk, keep, speller), [], table.rows
        else:
            keep = _check_kept_columns([*forecast.list_key_columns(history), *keep], types)
            parts, sentences, count = forecast.read_new_rows(loaded, history, table, score.chunk, keep, speller)
        costs = loaded.facts.get("costs", ())
        # A pickled model may keep notes of its own while it predicts: one thread then.
        threads = 1 if loaded.unsafe else None
        tables = predict.predict_chunks(loaded.model, loaded.version, parts, threads, intervals, costs)
        facts = {**loaded.stamp, "nestor.time": moment.isoformat(timespec="seconds")}
        rows = predict.write_tables(path, tables, facts, told and (lambda total: told(total, count)))
    seconds = time.monotonic() - start
    surplus = [c for c in table.names if c not in {*loaded.reading.kinds, *loaded.reading.others, *keep}]
    notes = (
        *_explain_unsafe_load(loaded),
        *sentences,
        *speller.notes,
        *(f.message for f in table.findings if f.verdict == "warn"),
    )
    remarks = tuple(surplus), notes, loaded.run_id or None
    return ScoreReport(loaded.name, loaded.version, str(path), table.source, rows, seconds, *remarks)


def _explain_unsafe_load(loaded: LoadedVersion) -> tuple[str, ...]:
    return (
        f"{loaded.label} is a pickle, loaded since --unsafe was said (it holds {join_names(loaded.unsafe)}).",
    ) * bool(loaded.unsafe)


def _check_kept_columns(names: Sequence[str], columns: Collection[str]) -> list[str]:
    """The columns to keep, each once; InputError where the output has a column `columns` of the same name."""
    clashes = [name for name in names if name in columns]
    if clashes:
        raise InputError(f"The output has a column {clashes[0]!r} of its own; rename the one in the input to keep it.")
    return list(dict.fromkeys(names))
