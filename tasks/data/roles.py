"""The columns that are no features: target, weight, group, time, ids, split column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from models.config import Run
from models.errors import InputError, join_names
from models.text.safe import shorten
from models.tuning.goal import list_compared_columns
from tasks.data.column_types.columns import is_textual, list_data_rows, make_whole_parser, to_canonical
from tasks.data.column_types.dates import ORDERS
from tasks.data.column_types.kinds import infer_kind
from tasks.data.column_types.words import to_distinct_words
from tasks.data.headers import find_column, list_same_names, refuse_same_names, suggest_near_names
from tasks.data.notes import describe_rows

SEALED = ("true", "test", "1", "1.0", "yes", "t", "y", "sealed", "holdout")
WORK = ("false", "train", "0", "0.0", "no", "f", "n", "work", "", "training", "valid", "validation")


@dataclass(frozen=True)
class ColumnRoles:
    """Names as the table has them."""

    target: str
    weight: str | None
    group: str | None
    time: str | None
    series: str | None
    ids: tuple[str, ...]
    test_column: str | None
    dropped: tuple[str, ...]
    subgroups: tuple[str, ...] = ()
    """Columns whose subgroups are compared, features or not."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that every table of the run has to hold, besides its features."""
        columns = (self.target, self.weight, self.group, self.time, self.series, *self.ids, *self.subgroups)
        return tuple(dict.fromkeys(c for c in columns if c is not None))

    @property
    def named(self) -> list[tuple[str, str]]:
        """Each column that has a role, and which."""
        single = {
            "the target": self.target, "the weight": self.weight, "the group": self.group, "the time": self.time,
            "the series": self.series, "the split column": self.test_column,
        }  # fmt: skip
        others = [(n, "an id") for n in self.ids] + [(n, "to compare subgroups of") for n in self.subgroups]
        return [(name, role) for role, name in single.items() if name is not None] + others

    def features(self, names: Sequence[str]) -> list[str]:
        """The columns to learn from; time and series are among them."""
        others = {self.target, self.weight, self.group, *self.ids, self.test_column, *self.dropped}
        return [n for n in names if n not in others]


def assign_roles(
    run: Run, names: Sequence[str], source: str, renamed: Mapping[str, str] = MappingProxyType({})
) -> ColumnRoles:
    """The roles that the run gives; stops at a column that the table lacks, is asked for twice or stands twice in the
    header. `match_renamed_columns`: what columns that were renamed are called in the source."""
    target = run.target or ("target" if str(run.data).startswith("sklearn:") else None)
    if target is None:
        raise InputError(
            f"Which column of {source} is the target? Give --target. Its columns: {join_names(names, 20)}."
        )

    def one(name: str | None, role: str) -> str | None:
        return None if name is None else find_column(name, names, role, source)

    roles = ColumnRoles(
        find_column(target, names, "the target", source),
        one(run.weight, "the weights"),
        one(run.split.group, "the groups"),
        one(run.split.time, "the time"),
        one(run.split.series, "the series"),
        tuple(find_column(n, names, "an id", source) for n in run.split.id),
        one(run.split.test_column, "the split column"),
        tuple(find_column(n, names, "to drop", source) for n in run.drop),
        tuple(find_column(n, names, "to compare subgroups of", source) for n in list_compared_columns(run.search)),
    )
    refuse_same_names([*roles.named, *_list_option_columns(run, names, renamed)], names, renamed, source)
    others = (roles.weight, roles.group, roles.time, roles.series, *roles.ids, roles.test_column, *roles.dropped)
    if roles.target in others:
        raise InputError(
            f"The target {roles.target!r} is asked for in another role too (weight, group, time, series, id, split or "
            "drop)."
        )
    unknown_types = [n for n in run.types if n not in names]
    if unknown_types:
        raise InputError(
            f"A type is given for {shorten(unknown_types[0])!r}, which {source} "
            f"lacks.{suggest_near_names(unknown_types[0], names)}"
        )
    unordered = [n for n in run.order if n not in names]
    if unordered:
        raise InputError(
            f"An order is given for {shorten(unordered[0])!r}, which {source} "
            f"lacks.{suggest_near_names(unordered[0], names)}"
        )
    if roles.target in run.types:
        raise InputError(f"A type is given for the target {roles.target!r}; choose by --task instead.")
    return roles


def _list_option_columns(run: Run, names: Sequence[str], renamed: Mapping[str, str]) -> list[tuple[str, str]]:
    """(name, what it is) for each column that is to be dropped or has a type or an order given, unless all that the
    header calls so have."""
    options = {"to be dropped": run.drop, "given a type": tuple(run.types), "given an order": tuple(run.order)}
    return [
        (n, role)
        for role, columns in options.items()
        for n in columns
        if not {*list_same_names(n, names, renamed)} <= {*columns}
    ]


def _refuse_missing(missing: np.ndarray, name: str, role: str) -> None:
    if missing.any():
        rows = describe_rows(list_data_rows(missing), int(missing.sum()))
        raise InputError(f"The {role} column {name!r} has no usable value in {rows}; fill these or remove the rows.")


def read_weights(raw: pd.Series, decimal: str | None) -> np.ndarray:
    """Row weights as float64."""
    inference = infer_kind(raw, decimal, "number")
    canonical = to_canonical(raw, "number", inference.parser)
    values = canonical.values.to_numpy(np.float64)
    _refuse_missing(np.isnan(values), str(raw.name), "weight")
    return values


def to_names(raw: pd.Series) -> pd.Series:
    """A column of names as canonical text; a whole number is one name, written 3 or 3.0."""
    return to_canonical(raw, "category", make_whole_parser(raw)).values


def encode_groups(raw: pd.Series, what: str = "group") -> np.ndarray:
    """Codes of the groups, or of `what` else they are, in order of appearance."""
    text = to_names(raw)
    _refuse_missing(text.isna().to_numpy(), str(raw.name), what)
    return pd.factorize(text)[0].astype(np.int64)


def read_times(raw: pd.Series, decimal: str | None, kind: str | None) -> np.ndarray:
    """Sortable times: microseconds (int64) of dates, else numbers (float64)."""
    name = str(raw.name)
    inference = infer_kind(raw, decimal, kind if kind in ("date", *ORDERS, "number") else None)
    if inference.kind not in ("date", "number"):
        inference = infer_kind(raw, decimal, "number")
    canonical = to_canonical(raw, inference.kind, inference.parser)
    if canonical.values.isna().all():
        examples = join_names(map(repr, raw.dropna().astype("str").unique()[:3]), 3, 24)
        raise InputError(
            f"The time column {name!r} holds neither dates nor numbers (such as {examples}); write dates as 2024-01-31."
        )
    _refuse_missing(canonical.values.isna().to_numpy(), name, "time")
    if inference.kind == "date":
        return canonical.values.to_numpy("datetime64[us]").astype(np.int64)
    return canonical.values.to_numpy(np.float64)


def read_ids(raw: pd.DataFrame) -> pd.DataFrame:
    """The id columns as canonical text."""
    text = pd.DataFrame({name: to_names(raw[name]) for name in raw.columns})
    for name in text.columns:
        _refuse_missing(text[name].isna().to_numpy(), str(name), "id")
    return text.reset_index(drop=True)


def read_split_column(raw: pd.Series) -> np.ndarray:
    """True in the rows that the split column seals."""
    text = raw if is_textual(raw) else raw.astype("object").astype("str")
    words = to_distinct_words(text)
    yes, no = words.find_missing(SEALED), words.find_missing(WORK)
    if not (yes | no).all():
        word = words.list_examples(~(yes | no), 1)[0]
        raise InputError(
            f"The split column {str(raw.name)!r} holds {shorten(word)!r}; it has to hold true or test for the sealed "
            "rows, false or train for the others."
        )
    mask = words.find_rows(yes)
    if not mask.any() or mask.all():
        raise InputError(f"The split column {str(raw.name)!r} seals {'all' if mask.all() else 'none'} of the rows.")
    return mask
