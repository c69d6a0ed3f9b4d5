"""The target: which task it asks for, its classes in their own form, or its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.config import Run
from models.data.labels import fold_label
from models.data.table import Finding, Task
from models.errors import InputError, join_names
from models.text.safe import shorten
from tasks.data.column_types.columns import is_textual, list_data_rows, to_floats
from tasks.data.column_types.dates import parse_dates
from tasks.data.column_types.numeric import ParsedNumbers, parse_numbers
from tasks.data.column_types.words import MARKS, NUMBER_MARKS, PLAIN, DistinctWords, spread_to_rows, to_distinct_words
from tasks.data.notes import describe_rows

# Whole numbers with up to this many values are taken for classes, with up to MANY when each is frequent enough.
FEW, MANY = 10, 30
# False and true by turns; numbers say so where words do too.
TRUTH = ("false", "true", "0", "1", "0.0", "1.0")


@dataclass(frozen=True)
class Target:
    """The target of every row; `missing` where it has none (there the value means nothing)."""

    values: np.ndarray
    task: Task
    classes: tuple[Any, ...]
    missing: np.ndarray
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Labels:
    """A target before its task is known: distinct `values` in their own form, and the code of every row."""

    values: list[Any]
    codes: np.ndarray
    numbers: np.ndarray | None
    """Each distinct value as a number, NaN where it is none; None where few are."""
    signs: str = ""

    @property
    def counts(self) -> np.ndarray:
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))


def read_target(raw: pd.Series, run: Run, decimal: str | None, marks: tuple[str, ...]) -> Target:
    """The target in canonical form; stops where it can't be one."""
    name = str(raw.name)
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        raise InputError(f"The target {name!r} holds dates; a target holds classes or numbers.")
    findings: list[Finding] = []
    labels = _from_text(to_distinct_words(raw), decimal, marks, run.task) if is_textual(raw) else _from_typed(raw)
    if run.task is None and labels.numbers is None and is_textual(raw) and _has_dates(raw, marks):
        raise InputError(
            f"The target {name!r} holds dates ({join_names(labels.values, 2)}); a target holds classes or numbers."
        )
    if not len(labels.values):
        raise InputError(f"The target {name!r} has no values: all of its {len(raw)} rows are missing.")
    task = run.task or _infer_task(labels, name, findings)
    if labels.signs and task == "regression":
        findings.append(
            Finding("target_format", "warn", f"The target {name!r} was read as numbers: {labels.signs}.", (name,))
        )
    if task == "regression":
        return _make_regression_target(labels, name, findings)
    return _make_class_target(labels, name, task, run, findings)


def _has_dates(raw: pd.Series, marks: tuple[str, ...]) -> bool:
    words = to_distinct_words(raw)
    return len(words.values) > 2 and parse_dates(words, words.find_missing(marks)) is not None


def _from_typed(raw: pd.Series) -> _Labels:
    """Labels of a column of numbers or truth."""
    if pd.api.types.is_bool_dtype(raw.dtype):
        codes = raw.astype("boolean").astype("Int64").fillna(-1).to_numpy(np.int64)
        return _Labels([False, True], codes, np.array([0.0, 1.0]))
    if pd.api.types.is_integer_dtype(raw.dtype):
        codes, values = pd.factorize(raw, sort=True)
        labels: list[Any] = [int(v) for v in values]
        return _Labels(labels, codes.astype(np.int64), np.array([float(v) for v in labels]))
    codes, values = pd.factorize(to_floats(raw), sort=True)
    return _Labels([float(v) for v in values], codes.astype(np.int64), np.asarray(values, dtype=np.float64))


def _from_text(words: DistinctWords, decimal: str | None, marks: tuple[str, ...], task: Task | None) -> _Labels:
    """Labels of a column of text: numbers and truth where all of it is, else the words (and codes such as 007)."""
    lower = words.lower.to_pylist()
    missing = words.find_missing(marks)
    values = {v for v, m in zip(lower, missing, strict=True) if not m}
    if values & {*TRUTH[:2]} and values <= {*TRUTH}:
        place = np.array([TRUTH.index(v) % 2 if v in values else -1 for v in lower], np.int64)
        return _Labels([False, True], spread_to_rows(place, words.codes, -1), np.array([0.0, 1.0]))
    empty = words.find_missing(NUMBER_MARKS)
    numbers = parse_numbers(words, empty, decimal)
    count = int((~empty).sum())
    good = int(numbers.good.sum())
    coded = task != "regression" and words.find_matching(r"^0\d").any()
    many = good > 2 * FEW and good >= 0.5 * count
    # A few words such as `3 stars` are classes, in their own form.
    if count and not coded and (many or (good == count and (task == "regression" or not numbers.style.unit))):
        return _from_numbers(words, numbers, empty)
    texts: list[Any] = words.values.to_pylist()
    order = sorted((i for i in range(len(texts)) if not missing[i]), key=lambda i: texts[i])
    place = np.full(len(texts), -1, np.int64)
    place[order] = np.arange(len(order))
    return _Labels([texts[i] for i in order], spread_to_rows(place, words.codes, -1), None)


def _from_numbers(words: DistinctWords, numbers: ParsedNumbers, empty: np.ndarray) -> _Labels:
    """Labels that are numbers, as int where all are written whole; words among them stay as NaN, to be told."""
    wholes = words.find_matching(r"^[+-]?\d+$") | empty
    texts = words.values.to_pylist()
    to_label = (
        (lambda i: int(texts[i]))
        if wholes.all()
        else (lambda i: float(numbers.values[i]) if numbers.good[i] else texts[i])
    )
    labels = {i: to_label(i) for i in range(len(texts)) if not empty[i]}
    distinct = sorted(set(labels.values()), key=lambda v: (isinstance(v, str), v))
    places = {v: k for k, v in enumerate(distinct)}
    place = np.array([places[labels[i]] if i in labels else -1 for i in range(len(texts))], np.int64)
    as_number = np.array([np.nan if isinstance(v, str) else float(v) for v in distinct])
    signs = _describe_signs(texts, numbers)
    return _Labels(distinct, spread_to_rows(place, words.codes, -1), as_number, signs)


def _describe_signs(texts: list[str], numbers: ParsedNumbers) -> str:
    place = next((i for i, t in enumerate(texts) if numbers.good[i] and not re.search(PLAIN, t)), None)
    if place is None or not np.isfinite(numbers.values[place]):
        return ""
    return f"{shorten(texts[place], 24)} is {numbers.values[place]:.15g}"


def _infer_task(labels: _Labels, name: str, findings: list[Finding]) -> Task:
    """The task that the values suggest, and a sentence wherever another reading of numbers was possible."""
    distinct = len(labels.values)
    if labels.numbers is None or isinstance(labels.values[0], bool):
        return "binary" if distinct <= 2 else "multiclass"
    is_whole = bool(np.isfinite(labels.numbers).all() and (labels.numbers % 1 == 0).all())
    if distinct <= 2:
        return _state_task("binary", "two numbers", name, findings, "pass")
    if not is_whole:
        return (
            "regression" if distinct > FEW else _state_task("regression", f"{distinct} numbers", name, findings, "warn")
        )
    counts = labels.counts
    even = counts.min() >= 0.3 * counts.mean() and counts.min() >= 10
    few = (distinct <= FEW and counts.mean() >= 5) or (distinct <= MANY and even)
    verdict = "warn" if distinct <= 100 else "pass"
    return _state_task("multiclass" if few else "regression", f"{distinct} whole numbers", name, findings, verdict)


def _state_task(task: Task, content: str, name: str, findings: list[Finding], verdict: Any) -> Task:
    other = "multiclass" if task == "regression" else "regression"
    sentence = f"The target {name!r} holds {content}: taken as {task}. To choose otherwise give --task {other}."
    findings.append(Finding("task", verdict, sentence, (name,)))
    return task


def _make_regression_target(labels: _Labels, name: str, findings: list[Finding]) -> Target:
    """The target as numbers; stops at words and infinite values."""
    if labels.numbers is None:
        examples = join_names(map(repr, labels.values), 4, 24)
        raise InputError(
            f"The target {name!r} holds words ({examples}), so it can't be a regression; --task multiclass?"
        )
    values = spread_to_rows(labels.numbers, labels.codes, np.nan)
    missing = labels.codes < 0
    word = np.isnan(values) & ~missing
    if word.any():
        rows = list_data_rows(word)
        value = labels.values[int(labels.codes[rows[0] - 1])]
        raise InputError(
            f"The target {name!r} holds numbers but for {describe_rows(rows, int(word.sum()))}, "
            f"such as {shorten(value)!r}. Correct or empty these, or give --task multiclass."
        )
    infinite = np.isinf(values) | (np.abs(np.where(missing, 0, values)) > 1e300)
    if infinite.any():
        rows = list_data_rows(infinite)
        raise InputError(
            f"The target {name!r} holds inf or numbers too large in {describe_rows(rows, int(infinite.sum()))}. "
            "Correct these values or remove the rows."
        )
    return Target(values.astype(np.float64), "regression", (), missing, tuple(findings))


def _make_class_target(labels: _Labels, name: str, task: Task, run: Run, findings: list[Finding]) -> Target:
    """The target as codes into its classes, the positive one last."""
    values, codes = _join_case_variants(labels, name, findings)
    present = np.bincount(codes[codes >= 0], minlength=len(values)) > 0
    place = np.where(present, np.cumsum(present) - 1, -1)
    codes = spread_to_rows(place, codes, -1)
    values = [v for v, p in zip(values, present, strict=True) if p]
    if any(isinstance(v, float) and not np.isfinite(v) for v in values):
        raise InputError(f"The target {name!r} holds infinite values; correct them or remove the rows.")
    _refuse_task(values, task, name, int((codes >= 0).sum()))
    if len(values) == 2:
        task = "binary"
    if run.positive is not None:
        values, codes = _put_positive_last(values, codes, run.positive, name)
    return Target(codes, task, tuple(values), codes < 0, tuple(findings))


def _refuse_task(values: list[Any], task: Task, name: str, rows: int) -> None:
    if task == "binary" and len(values) > 2:
        raise InputError(
            f"The target {name!r} has {len(values)} classes ({join_names(values, 4)}), so it is not binary."
        )
    many = len(values) > 20 and len(values) > 0.5 * rows
    if many and isinstance(values[0], (int, float)):
        raise InputError(
            f"The target {name!r} has {len(values)} different numbers in {rows} rows: give --task regression."
        )
    if many:
        raise InputError(
            f"The target {name!r} has {len(values)} classes in {rows} rows, such as {join_names(values, 2, 24)}: "
            "it looks like an id or free text. Choose another target."
        )


def _join_case_variants(labels: _Labels, name: str, findings: list[Finding]) -> tuple[list[Any], np.ndarray]:
    """Labels such as `Yes`, `yes`, `YES` as the most frequent of them; single letters are kept apart."""
    values, counts = labels.values, labels.counts
    if not all(isinstance(v, str) for v in values):
        return _as_words(values), labels.codes
    spellings: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        spellings.setdefault(fold_label(value), []).append(place)
    if len(spellings) == len(values):
        return values, labels.codes
    leaders = {p: max(places, key=lambda i: counts[i]) for places in spellings.values() for p in places}
    order = sorted(set(leaders.values()), key=lambda i: values[i])
    codes = {p: k for k, p in enumerate(order)}
    joined = [f"{values[p]!r} (as {values[q]!r})" for p, q in leaders.items() if p != q]
    findings.append(
        Finding(
            "class_spelling",
            "warn",
            f"Classes of {name!r} that differ in case or blanks only were joined: {join_names(joined, width=80)}.",
            (name,),
        )
    )
    place = np.array([codes[leaders[i]] for i in range(len(values))], np.int64)
    return [values[i] for i in order], spread_to_rows(place, labels.codes, -1)


def _as_words(values: list[Any]) -> list[Any]:
    """Labels of one form: numbers among words become words."""
    return [str(v) for v in values] if any(isinstance(v, str) for v in values) else values


def _put_positive_last(values: list[Any], codes: np.ndarray, positive: str, name: str) -> tuple[list[Any], np.ndarray]:
    if len(values) != 2:
        raise InputError(f"A positive class is for two classes; the target {name!r} has {len(values)}.")
    matches = [
        i for i, v in enumerate(values) if str(v).casefold() == positive.strip().casefold() or _is_equal(v, positive)
    ]
    if not matches:
        raise InputError(f"The target {name!r} has no class {shorten(positive)!r}. Its classes: {join_names(values)}.")
    return (values, codes) if matches[0] == 1 else (values[::-1], np.where(codes >= 0, 1 - codes, -1))


def _is_equal(value: Any, text: str) -> bool:
    try:
        return not isinstance(value, (str, bool)) and float(text) == float(value)
    except ValueError:
        return False


__all__ = ["MARKS", "Target", "read_target"]
