"""Texts of users within markdown."""

from __future__ import annotations

import re

from models.text.safe import to_printable


def escape_markdown(text: object) -> str:
    """The text as markdown that shows it letter by letter, in one line: no link, no picture, no html of its own."""
    line = to_printable(" ".join(str(text).split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", line)
    # Addresses of pages and of people are links without any sign, lines that begin so are items of a list.
    line = re.sub(r"(?i)(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?<=\w)(?=@\w)", r"\\", line)
    return re.sub(r"^([-+=]|\d+(?=[.)]\s))", lambda m: m[1] + "\\" if m[1].isdigit() else "\\" + m[1], line)
