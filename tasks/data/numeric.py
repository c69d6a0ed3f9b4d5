"""Text as numbers: decimal marks, thousands separators, currency and percent signs, numbers too large to keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.data.arrow import pc
from tasks.data.words import PLAIN, Words, mask

# Past it float32, in which boosters work, has only infinity.
LARGEST = 3e38
SIGN = r"[+-]?"
WHOLE = rf"^{SIGN}\d+$"
INFINITE = r"^[+-]?(?i:inf|infinity|∞)$"
POINT_GROUPS = rf"^{SIGN}\d{{1,3}}(,\d{{3}})+(\.\d*)?$"
COMMA = rf"^{SIGN}(\d+,\d*|,\d+)([eE][+-]?\d+)?$"
COMMA_GROUPS = rf"^{SIGN}\d{{1,3}}(\.\d{{3}})+(,\d*)?$"
CURRENCY = r"^([+-]?) *(?:[$€£¥₹₽₩]|USD|EUR|GBP|CHF|US\$) *([+-]?[\d.,])|([\d.,]) *(?:[$€£¥₹₽₩]|USD|EUR|GBP|CHF)$"
PERCENT = r"([\d.,]) *%$"
# Groups of three divided by a blank (also hard or thin) or an apostrophe.
GROUPING = r"[ \x{00a0}\x{2009}\x{202f}'\x{2019}]"
SPACED = rf"^{SIGN}\d{{1,3}}({GROUPING}\d{{3}})+([.,]\d*)?$"
# Minus signs and dashes that typesetting puts for "-".
DASH = r"[\x{2212}\x{2013}]"
CODE_DIGITS = r"^-?\d{16,}$"


@dataclass(frozen=True)
class Style:
    """How a column writes numbers."""

    decimal: str = "."
    thousands: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """What its numbers look like."""
        if self.decimal == ".":
            return (PLAIN, POINT_GROUPS) if self.thousands else (PLAIN,)
        return (WHOLE, COMMA, COMMA_GROUPS) if self.thousands else (WHOLE, COMMA)


STYLES = (Style("."), Style(".", ","), Style(","), Style(",", "."))


@dataclass(frozen=True)
class Numbers:
    """Text values read as numbers: NaN where `good` is false; `signs` tells what was taken off."""

    values: np.ndarray
    good: np.ndarray
    style: Style
    signs: tuple[str, ...] = ()


def numbers(words: Words, skip: np.ndarray, decimal: str | None = None, style: Style | None = None) -> Numbers:
    """The distinct values as numbers, in the style that fits most rows; `skip`: values known to be missing.

    decimal: the mark that the rest of the table uses, which decides where `1,234` or `1.234` may be either.
    """
    if style in (None, STYLES[0]) and decimal != ",":
        good = words.plain & ~skip
        if (good | skip).all():
            return Numbers(_cast(words.values, good), good, STYLES[0])
    text, signs = _bare(words.values)
    chosen = style or _style(text, words.counts * ~skip, decimal)
    good = _fits(text, chosen) & ~skip
    if chosen.thousands:
        text = pc.replace_substring(text, chosen.thousands, "")
    if chosen.decimal == ",":
        text = pc.replace_substring(text, ",", ".")
    infinite = mask(pc.match_substring_regex(text, INFINITE)) & ~skip
    values = np.where(infinite, np.inf, _cast(text, good))
    return Numbers(values, good | infinite, chosen, signs)


def writes_comma(words: Words, skip: np.ndarray) -> bool:
    """Whether this is a column of numbers that only a decimal comma explains: `0,5` and no `1,234`."""
    return commas_win(comma_votes(words, skip))


def comma_votes(words: Words, skip: np.ndarray) -> np.ndarray:
    """Rows in all, those that decimal commas explain, those that nothing else does, those with a comma within digits;
    to be added up over the parts of a column."""
    text, _ = _bare(words.values)
    some = words.counts * ~skip
    fits = _fits(text, STYLES[3])
    sure = _fits(text, STYLES[2]) & mask(pc.match_substring(text, ",")) & ~_fits(text, STYLES[1])
    return np.array([some.sum(), some @ fits, some @ sure, words.counts @ words.matching(r"\d,\d")])


def commas_win(votes: np.ndarray) -> bool:
    """Whether the votes are those of a column with decimal commas."""
    rows, fits, sure, some = votes
    return bool(some and fits >= 0.9 * rows and sure > 0 and sure >= 0.2 * fits)


def _style(text: pa.Array, weights: np.ndarray, decimal: str | None) -> Style:
    """The style that fits the most rows; between equals the table's decimal mark, then the simpler."""
    order = sorted(STYLES, key=lambda s: s.decimal != (decimal or "."))
    fits = {style: int(weights @ _fits(text, style)) for style in order}
    if decimal == ",":
        # Within a table of decimal commas `1.234` is a thousand, unless some values can't be.
        plain = fits[STYLES[0]]
        return STYLES[0] if plain > max(fits[STYLES[2]], fits[STYLES[3]]) else max(order, key=lambda s: fits[s])
    best = max(fits.values())
    if fits[STYLES[0]] == best:
        return STYLES[0]
    return next(s for s in (STYLES[1], STYLES[2], STYLES[3]) if fits[s] == best)


def _fits(text: pa.Array, style: Style) -> np.ndarray:
    found = np.zeros(len(text), bool)
    for pattern in style.patterns:
        found |= mask(pc.match_substring_regex(text, pattern))
    return found


def _bare(values: pa.Array) -> tuple[pa.Array, tuple[str, ...]]:
    """The values without signs and grouping blanks, and the signs that there were."""
    text, signs = values, []
    if mask(pc.match_substring_regex(text, DASH)).any():
        text = pc.replace_substring_regex(text, rf"^{DASH} *(\d)", r"-\1")
    negative = mask(pc.match_substring_regex(text, r"^\([$€£¥]? ?[\d.,]+\)$"))
    if negative.any():
        text = pc.if_else(pa.array(negative), pc.replace_substring_regex(text, r"^\((.*)\)$", r"-\1"), text)
        signs.append("()")
    currency = mask(pc.match_substring_regex(text, CURRENCY))
    if currency.any():
        signs += _symbols(text, currency)
        text = pc.replace_substring_regex(text, CURRENCY, r"\1\2\3")
    percent = mask(pc.match_substring_regex(text, PERCENT))
    if percent.any():
        signs.append("%")
        text = pc.replace_substring_regex(text, PERCENT, r"\1")
    if mask(pc.match_substring_regex(text, SPACED)).any():
        spaced = pc.match_substring_regex(text, SPACED)
        text = pc.if_else(spaced, pc.replace_substring_regex(text, GROUPING, ""), text)
    return text, tuple(signs)


def _symbols(text: pa.Array, currency: np.ndarray) -> list[str]:
    chosen = pc.filter(text, pa.array(currency))
    symbols = pc.unique(pc.replace_substring_regex(chosen, r"[\d.,+ -]", "")).to_pylist()
    return sorted(str(s) for s in symbols)[:4]


def _cast(text: pa.Array, good: np.ndarray) -> np.ndarray:
    """float64, rounded correctly; NaN where not good."""
    if good.all():
        return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    chosen = pc.if_else(pa.array(good), text, pa.scalar(None, text.type))
    return pc.cast(chosen, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def kept(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers with NaN for those that are infinite or too large, and which those are."""
    with np.errstate(invalid="ignore"):
        out = np.abs(values) > LARGEST
    return (np.where(out, np.nan, values), out) if out.any() else (values, out)
