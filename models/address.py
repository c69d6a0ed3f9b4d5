"""Addresses as they may be shown and written down: without their passwords; and what shows the pages of one."""

from __future__ import annotations

import re
from shlex import quote


def masked(text: str) -> str:
    """The text with `***` for every password in an address."""
    text = re.sub(r"(://[^\s/:@]*:)\S*@", r"\1***@", text)
    return re.sub(r"(?i)([?&](?:\w*password|passwd|pwd|secret|token)=)[^&\s]*", r"\1***", text)


def pages(address: str) -> str:
    """Where a person looks at what an MLflow store holds: a server's own address, or the command that shows a file."""
    return address if address.startswith("http") else f"mlflow ui --backend-store-uri {quote(address)}"
