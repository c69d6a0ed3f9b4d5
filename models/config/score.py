"""One scoring's settings."""

from __future__ import annotations

from pydantic import Field

from models.config.values import Bound, Data, Levels, Names, Settings


class Score(Settings):
    """New rows for a registered model: checked against what it was trained on, and predicted."""

    model: str
    """NAME, NAME@ALIAS or NAME/VERSION; NAME alone means its champion, else its newest version."""
    data: Data
    """The rows: a csv or parquet path (`%Y-%m-%d` in it: the newest file that fits), a database address with `query`,
    or in Python a DataFrame."""
    out: str
    """Where the predictions go: csv or parquet. `%Y-%m-%d` becomes today's date."""
    query: str | None = None
    """SQL, where the data is a database address."""
    bound: Bound = {}
    """Values for the query's `:name`s, such as `today-1d`."""
    keep: Names = ()
    """Columns of the input that the output repeats, such as an id."""
    intervals: Levels = ()
    """Levels such as 0.9: columns `low_90` and `high_90`, between which the true value lies in 90 % of rows; for
    classes `set_90`, in which the true label is."""
    chunk: int = Field(default=50_000, ge=1)
    """Rows that are read and predicted at once: memory grows with it, not with the table."""
    unsafe: bool = False
    """Whether the version is loaded where it is a pickle (tag `nestor.unsafe`): that runs whatever code it names."""
