"""Texts that hold names and values of somebody's table, made safe for where they are shown: a name may hold escape
sequences, links, signs that turn the direction of reading. In data, models and files it stays what it is.

For markdown: `models.text.markdown.escape_markdown`."""

from __future__ import annotations

import html
import json


def to_printable(text: object) -> str:
    """The text without what a terminal obeys or nobody sees (escape sequences, directions, zero width); its ends of
    lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(text))


def shorten(value: object, width: int = 40) -> str:
    """The value as one line of at most `width` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def to_line(value: object, width: int = 40) -> str:
    """The value as one line of at most `width` printable characters."""
    return to_printable(shorten(value, width))


def escape_html(value: object, width: int = 200) -> str:
    """Such a line for html."""
    return html.escape(to_line(value, width))


def escape_json(text: str) -> str:
    """JSON that says the same, with escapes for what a terminal obeys."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
