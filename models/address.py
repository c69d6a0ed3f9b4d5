"""Addresses as they may be shown and written down: without their passwords."""

from __future__ import annotations

import re


def masked(text: str) -> str:
    """The text with `***` for every password in an address."""
    text = re.sub(r"(://[^\s/:@]*:)\S*@", r"\1***@", text)
    return re.sub(r"(?i)([?&](?:\w*password|passwd|pwd|secret|token)=)[^&\s]*", r"\1***", text)
