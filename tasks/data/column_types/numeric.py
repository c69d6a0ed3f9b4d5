"""Text as numbers: decimal marks, thousands separators, signs of money and percent, brackets and minus signs of
accountants, the unit that a column has, numbers too large to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from tasks.data.column_types.arrow import pc
from tasks.data.column_types.dates import MONTH
from tasks.data.column_types.words import PLAIN, DistinctWords, to_mask

# Past it float32, in which boosters work, has only infinity.
LARGEST = 3e38
SIGN = r"[+-]?"
POWER = r"([eE][+-]?\d+)?"
WHOLE = rf"^{SIGN}\d+$"
INFINITE = r"^[+-]?(?i:inf|infinity|∞)$"
# By threes, or as in India: 1,10,000.
POINT_GROUPS = rf"^{SIGN}(\d{{1,3}}(,\d{{3}})+|\d{{1,2}}(,\d{{2}})+,\d{{3}})(\.\d*)?{POWER}$"
COMMA = rf"^{SIGN}(\d+,\d*|,\d+){POWER}$"
COMMA_GROUPS = rf"^{SIGN}\d{{1,3}}(\.\d{{3}})+(,\d*)?{POWER}$"
MONEY = (
    r"(?:[A-Z]{0,3}\p{Sc}|[Rr]s\.?|kr\.?|AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|"
    r"KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR)"
)
BEFORE = rf"^(?P<minus>[+-]?) *(?P<money>{MONEY}) *(?P<digit>[+-]?[\d.,])"
AFTER = rf"(?P<digit>[\d.,kKmMbBn]) *(?P<money>{MONEY})$"
PERCENT = r"([\d.,]) *%$"
BRACKETS = r"^([^\d()]*)\( *([^()]*\d[^()]*?) *\)([^\d()]*)$"
MINUS_LAST = rf"^([^-]*\d[^-]*?) *- *((?:{MONEY}|%)?)$"
# Groups of three divided by a blank (also hard or thin) or an apostrophe.
GROUPING = r"[ \x{00a0}\x{2009}\x{202f}'\x{2019}]"
SPACED = rf"^{SIGN}\d{{1,3}}({GROUPING}\d{{3}})+([.,]\d*)?$"
# Minus signs and dashes that typesetting puts for "-".
DASH = r"[\x{2212}\x{2013}]"
CODE_DIGITS = r"^-?\d{16,}$"
DIGITS = rf"{SIGN}(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?|{SIGN}\d{{1,3}}(?:{GROUPING}\d{{3}})+(?:[.,]\d*)?"
ONE = rf"^(?:{DIGITS})$"
# Letters, degrees, inches and feet (\x{2032}, \x{2033}).
MARKS = r"\pL°'\"\x{2032}\x{2033}‰"
UNIT = rf"[{MARKS}][{MARKS}/²³^·*%. ]{{0,15}}|(?:[{MARKS}][{MARKS}/ ]{{0,14}})?\pL[23]"
WITH_UNIT = rf"^(?P<number>{DIGITS}) *(?P<unit>{UNIT})?$"
# Letters that stand for zeros behind the number; m and b may be metres and bytes, unless others are there too.
SCALES = {"k": 3, "K": 3, "M": 6, "mn": 6, "mln": 6, "mio": 6, "Mio": 6, "bn": 9, "Bn": 9}
COMPANIONS = {"m": 6, "b": 9, "B": 9}
# What tells nothing but that it is more, less or about so many.
ABOUT = rf"^(?:[<>≤≥~≈±]=?|c\.|ca\.?) *(?:{DIGITS})$|^(?:{DIGITS}) *(?:[+*]|(?:±|\+/-) *(?:{DIGITS}))$"


@dataclass(frozen=True)
class NumberStyle:
    """How a column writes numbers."""

    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    """What stands behind every number, in the singular: `kg`."""
    bare: bool = False
    """Whether numbers without it are taken to have it all the same, as some of the first table were."""
    scaled: bool = False
    """Whether 1.5k is 1500."""
    signs: tuple[str, ...] | None = None
    """The signs of money and percent that there may be; None for any."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """What its numbers look like."""
        if self.decimal == ".":
            return (PLAIN, POINT_GROUPS) if self.thousands else (PLAIN,)
        return (WHOLE, COMMA, COMMA_GROUPS) if self.thousands else (WHOLE, COMMA)

    @classmethod
    def of(cls, parser: Mapping[str, Any]) -> NumberStyle:
        """The style that a reading keeps for a column."""
        options = {name: parser[name] for name in ("decimal", "thousands", "unit", "bare", "scaled") if name in parser}
        return cls(**options, signs=tuple(parser.get("signs", ())))

    @property
    def parser(self) -> dict[str, Any]:
        """What a reading keeps of it."""
        default = NumberStyle()
        options = {name: getattr(self, name) for name in ("decimal", "thousands", "unit", "bare", "scaled")}
        changes = {name: value for name, value in options.items() if value != getattr(default, name)}
        return {**changes, **({"signs": list(self.signs)} if self.signs else {})}


STYLES = (NumberStyle("."), NumberStyle(".", ","), NumberStyle(","), NumberStyle(",", "."))


@dataclass(frozen=True)
class ParsedNumbers:
    """Text values read as numbers: NaN where `good` is false; the style's `signs` tell what was taken off."""

    values: np.ndarray
    good: np.ndarray
    style: NumberStyle
    bare: np.ndarray
    """Which lack the unit or the percent sign that others have."""


@dataclass(frozen=True)
class _BareNumbers:
    """Values without signs: the number's text, the sign of money or percent and the unit that it had, if any."""

    text: pa.Array
    sign: pa.Array
    unit: pa.Array

    def find_signed(self, signs: tuple[str, ...]) -> np.ndarray:
        """Which have one of these signs."""
        return to_mask(pc.is_in(self.sign, value_set=pa.array(signs, self.sign.type)))

    def find_measured(self, units: Iterable[str]) -> np.ndarray:
        """Which have one of these units."""
        return to_mask(pc.is_in(self.unit, value_set=pa.array(list(units), self.unit.type)))


def parse_numbers(
    words: DistinctWords, skip: np.ndarray, decimal: str | None = None, style: NumberStyle | None = None
) -> ParsedNumbers:
    """The distinct values as numbers, in the style that fits most rows; `skip`: values known to be missing.

    decimal: the mark that the rest of the table uses, which decides where `1,234` or `1.234` may be either.
    """
    plain = style is None or replace(style, signs=None) == STYLES[0]
    if plain and decimal != ",":
        good = words.plain & ~skip
        if (good | skip).all():
            return ParsedNumbers(_cast_numbers(words.values, good), good, STYLES[0], np.zeros(len(good), bool))
    bare, weights = _strip_words(words), words.counts * ~skip
    measure = style or _infer_unit(bare, weights)
    text, mask = _apply_unit(bare, measure)
    if style:
        mask &= bare.find_signed(("", *style.signs)) if style.signs else ~bare.find_signed(("%",))
    final_style = style or replace(_choose_style(text, weights * mask, decimal), **measure.parser)
    good = _match_style(text, final_style) & mask & ~skip
    if final_style.thousands:
        text = pc.replace_substring(text, final_style.thousands, "")
    if final_style.decimal == ",":
        text = pc.replace_substring(text, ",", ".")
    infinite = to_mask(pc.match_substring_regex(text, INFINITE)) & ~skip
    values, good = np.where(infinite, np.inf, _cast_numbers(text, good)), good | infinite
    signs = style.signs if style else tuple(sorted({*bare.sign.filter(pa.array(good)).unique().to_pylist()} - {""}))
    unmarked = bare.find_measured([""]) & (measure.unit != "") | ~bare.find_signed(("%",)) & ("%" in (signs or ()))
    return ParsedNumbers(values, good, replace(final_style, signs=signs), unmarked)


def has_unread_numbers(words: DistinctWords, skip: np.ndarray) -> bool:
    """Whether most values hold one number each, with different units or with signs such as `<`, so that none is read
    for sure."""
    weights = words.counts * ~skip
    bare = _strip_words(words)
    units = {pair["values"]: pair["counts"] for pair in bare.unit.value_counts().to_pylist()}
    repeats = [unit for unit, count in units.items() if re.fullmatch(r"\S{2,6}", unit) and count > 1]
    return bool(weights @ (bare.find_measured(repeats) | words.find_matching(ABOUT)) >= 0.5 * weights.sum() > 0)


def writes_comma(words: DistinctWords, skip: np.ndarray) -> bool:
    """Whether this is a column of numbers that only a decimal comma explains: `0,5` and no `1,234`."""
    return has_comma_majority(count_comma_votes(words, skip))


def count_comma_votes(words: DistinctWords, skip: np.ndarray) -> np.ndarray:
    """Rows in all, those that decimal commas explain, those that nothing else does, those with a comma within digits;
    to be added up over the parts of a column."""
    text = _strip_words(words).text
    weights = words.counts * ~skip
    fits = _match_style(text, STYLES[3])
    sure = _match_style(text, STYLES[2]) & to_mask(pc.match_substring(text, ",")) & ~_match_style(text, STYLES[1])
    return np.array([weights.sum(), weights @ fits, weights @ sure, words.counts @ words.find_matching(r"\d,\d")])


def has_comma_majority(votes: np.ndarray) -> bool:
    """Whether the votes are those of a column with decimal commas."""
    rows, fits, sure, commas = votes
    return bool(commas and fits >= 0.9 * rows and sure > 0 and sure >= 0.2 * fits)


def _choose_style(text: pa.Array, weights: np.ndarray, decimal: str | None) -> NumberStyle:
    """The style that fits the most rows; between equals the table's decimal mark, then the simpler."""
    order = sorted(STYLES, key=lambda s: s.decimal != (decimal or "."))
    fits = {style: int(weights @ _match_style(text, style)) for style in order}
    if decimal == ",":
        # Within a table of decimal commas `1.234` is a thousand, unless some values can't be.
        plain = fits[STYLES[0]]
        return STYLES[0] if plain > max(fits[STYLES[2]], fits[STYLES[3]]) else max(order, key=lambda s: fits[s])
    best = max(fits.values())
    if fits[STYLES[0]] == best:
        return STYLES[0]
    return next(s for s in (STYLES[1], STYLES[2], STYLES[3]) if fits[s] == best)


def _match_style(text: pa.Array, style: NumberStyle) -> np.ndarray:
    fits = np.zeros(len(text), bool)
    for pattern in style.patterns:
        fits |= to_mask(pc.match_substring_regex(text, pattern))
    return fits


_BARE: WeakKeyDictionary[DistinctWords, _BareNumbers] = WeakKeyDictionary()
"""It is asked for more than once, and takes most of the time of reading a column."""


def _strip_words(words: DistinctWords) -> _BareNumbers:
    """The values with a minus before the number and without grouping blanks, and what they had besides."""
    if (numbers := _BARE.get(words)) is None:
        numbers = _BARE[words] = _strip_values(words.values)
    return numbers


def _strip_values(values: pa.Array) -> _BareNumbers:
    text = pc.replace_substring_regex(values, rf"^{DASH} *(\d)", r"-\1")
    for sign, pattern, replacement in (("(", BRACKETS, r"-\1\2\3"), ("-", MINUS_LAST, r"-\1\2")):
        if pc.any(pc.match_substring(text, sign)).as_py():
            text = pc.replace_substring_regex(text, pattern, replacement)
    sign = pa.array([""] * len(text), text.type)
    for pattern, replacement in ((BEFORE, r"\1\3"), (AFTER, r"\1")):
        if to_mask(pc.match_substring_regex(text, pattern)).any():
            money = pc.struct_field(pc.extract_regex(text, pattern=pattern), "money")
            sign = pc.if_else(pc.is_valid(money), money, sign)
            text = pc.replace_substring_regex(text, pattern, replacement)
    sign = pc.if_else(pc.match_substring_regex(text, PERCENT), "%", sign)
    text = pc.replace_substring_regex(text, PERCENT, r"\1")
    parts = pc.extract_regex(text, pattern=WITH_UNIT)
    text = pc.if_else(pc.is_valid(parts), pc.struct_field(parts, "number"), text)
    if to_mask(spaced := pc.match_substring_regex(text, SPACED)).any():
        text = pc.if_else(spaced, pc.replace_substring_regex(text, GROUPING, ""), text)
    unit = pc.fill_null(pc.struct_field(parts, "unit"), "")
    return _BareNumbers(text, sign, pc.replace_substring_regex(unit, r"^(\pL{2,}?)s?\.?$", r"\1"))


def _infer_unit(bare: _BareNumbers, weights: np.ndarray) -> NumberStyle:
    """The unit that the numbers have, or that letters stand for zeros, and nothing else of a style. No unit where
    another is in use too, where it is a month (12 May), or where digits are padded as those of codes."""
    number = to_mask(pc.match_substring_regex(bare.text, ONE))
    encoding = bare.unit.filter(pa.array(number)).dictionary_encode()
    units = np.array(encoding.dictionary.to_pylist(), object)
    rows = np.bincount(encoding.indices.to_numpy(), weights[number], len(units)) if len(units) else np.zeros(0)
    letters = {*SCALES, *(COMPANIONS if {*units} & {*SCALES} or not bare.find_signed(("", "%")).all() else {})}
    scales, none = np.isin(units, [*letters]), units == ""
    common, needed = int(np.argmax(rows)) if rows.any() else 0, 0.95 * rows.sum()
    if rows @ scales > 0 and rows @ (scales | none) >= needed:
        return NumberStyle(scaled=True)
    padded = to_mask(pc.match_substring_regex(bare.text, r"^0\d"))[number].any()
    if padded or not rows.any() or none[common] or rows[common] + rows @ none < needed:
        return NumberStyle()
    if re.fullmatch(MONTH, units[common]):
        return NumberStyle()
    return NumberStyle(unit=units[common], bare=bool((rows @ none) > 0))


def _apply_unit(bare: _BareNumbers, style: NumberStyle) -> tuple[pa.Array, np.ndarray]:
    """(the numbers' text, which are in the style's unit)."""
    if not style.scaled:
        return bare.text, bare.find_measured([style.unit, *([""] if style.bare else [])])
    text, end = bare.text, pa.scalar("", bare.text.type)
    for letter, zeros in (SCALES | COMPANIONS).items():
        longer = pc.binary_join_element_wise(text, pa.scalar(f"e{zeros}", text.type), end)
        text = pc.if_else(pc.equal(bare.unit, letter), longer, text)
    return text, bare.find_measured(["", *SCALES, *COMPANIONS])


def _cast_numbers(text: pa.Array, good: np.ndarray) -> np.ndarray:
    """float64, rounded correctly; NaN where not good."""
    if good.all():
        return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    texts = pc.if_else(pa.array(good), text, pa.scalar(None, text.type))
    return pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def drop_out_of_range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers with NaN for those that are infinite or too large, and which those are."""
    with np.errstate(invalid="ignore"):
        out = np.abs(values) > LARGEST
    return (np.where(out, np.nan, values), out) if out.any() else (values, out)
