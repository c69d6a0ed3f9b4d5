"""Texts of users within markdown."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """The text as markdown that shows it letter by letter, in one line: no link, no picture, no html of its own."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", line)
