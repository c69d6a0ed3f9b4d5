"""Addresses as they may be shown and written down: without what may be secret in them; and what shows the pages of one.

SQLAlchemy takes an address apart, as it does where the address is used. Scheme, host, port and database stay; so do a
user without a password, and options that are known to hold no secret: such an address can be used again."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import quote as percent

if TYPE_CHECKING:
    from sqlalchemy import URL

HIDDEN = "***"
"""Stands for whatever is not shown."""
HARMLESS = {
    "application_name", "charset", "client_encoding", "connect_timeout", "driver", "encoding", "encrypt", "mode",
    "region", "role", "schema", "service_name", "sslmode", "target_session_attrs", "timeout", "trustservercertificate",
    "uri", "versionid", "warehouse",
}  # fmt: skip
"""Options of an address whose values are shown, in small letters."""
_ADDRESS = re.compile(r"((?:--?[\w-]+=)?(?:[\w+.-]+:)*)([A-Za-z][\w+.-]*://)(.*)", re.S)
"""An address, which may stand behind `--data=` or `jdbc:`."""
_PLAIN = re.compile(r"[^@?#;&=:/]*(?::\d+)?(?:/[^@?#;&=]*)?")
"""What follows the scheme where nothing can be secret: a host, a port, a path."""
_HOST = re.compile(r"[\w.-]*|[0-9A-Fa-f:.%]+")
_SCHEME = re.compile(r"(?<![\w+.-])[A-Za-z][\w+.-]*://")
_LINE = re.compile(r"(?:(?!://)[^\n])*")
_WORD = re.compile(r"[^\s'\"<>`|]*")
_BEGUN = re.compile(r"[^/?#@:\n]{0,60}:(?!\d*(?:[\s/?#,.;:)\]]|$))")
"""A user, and the sign after it, where what follows is no port."""
_NAMES = (
    r"passw(?:or)?d|passwd|pwd|passphrase|secret|token|api[-_]?key|access[-_]?key|account[-_]?key|private[-_]?key|"
    r"signature|credential|authorization"
)
_PAIR = re.compile(
    rf"""(?ix) (?<![\w./-]) (?=["']?[\w.-]*(?:{_NAMES})) (["']?[\w.-]++)
    ([ \t]*=[ \t]* | %3D | ["'][ \t]*:[ \t]*)
    ( \{{[^}}\n]{{0,1000}}\}} | '[^'\n]*' | "[^"\n]*" | (?:(?!%3B|%26)[^\s&;,'")\]}}])+ )"""
)
"""NAME=VALUE, also percent-encoded, and "NAME": "VALUE", of names under which secrets are kept. A match
begins where a word does, and takes it whole: a search that began anew at each sign of a long word would never end."""
_LOGIN = re.compile(r"\b(Bearer|Basic) ([\w.~+/=-]{8,})")


def mask_address(address: str) -> str:
    """The address with `***` for whatever may be secret in it; any other text as it came."""
    parts = _ADDRESS.fullmatch(address)
    if parts is None or _PLAIN.fullmatch(parts[3]):
        return address
    prefix, scheme, rest = parts.groups()
    masked = _show_address(scheme, rest) or _show_address(scheme, f"{HIDDEN}@{rest.rpartition('@')[2]}")
    return prefix + (masked or scheme + HIDDEN)


def mask_text(text: str) -> str:
    """The text with every address in it masked, and with `***` for what is called a password, a token or the like."""
    return "".join(_mask_pieces(text))


def _mask_pieces(text: str) -> Iterator[str]:
    """The text's parts in order, its addresses masked."""
    done = 0
    for start in _SCHEME.finditer(text):
        if start.start() >= done:
            end = _find_end(text, start.end())
            yield _mask_pairs(text[done : start.start()])
            yield mask_address(text[start.start() : end])
            done = end
    yield _mask_pairs(text[done:])


def extract_passwords(address: str) -> set[str]:
    """The passwords in an address, as they are and as they stand in it."""
    if not (parts := _ADDRESS.fullmatch(address)) or _PLAIN.fullmatch(parts[3]):
        return set()
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(parts[2] + parts[3])
    except (ArgumentError, ValueError):
        return set()
    options = [value for name, value in url.query.items() if re.search(_NAMES, name, re.I)]
    passwords = {text for text in (url.password, *options) if isinstance(text, str)}
    return {form for text in passwords for form in (text, percent(text, safe=""))}


def _mask_pairs(text: str) -> str:
    return _LOGIN.sub(_mask_login, _PAIR.sub(rf"\1\2{HIDDEN}", text))


def _mask_login(match: re.Match[str]) -> str:
    kind, secret = match.groups()
    return f"{kind} {HIDDEN}" if kind == "Bearer" or _is_login(secret) else match[0]


def _is_login(text: str) -> bool:
    """Whether it is `name:password` in base64, as HTTP has it, and no word; the last signs may be cut off."""
    signs = re.sub(r"[^A-Za-z0-9+/]", "", text)
    body = signs[: len(signs) - (len(signs) % 4 == 1)]
    name, colon, _ = b64decode(body + "==").partition(b":")
    with suppress(UnicodeDecodeError):
        return bool(colon) and name.decode().isprintable()
    return False


def _find_end(text: str, start: int) -> int:
    """Where the address ends whose scheme ends at `start`: with its word, but for the signs that close a sentence; a
    password may hold blanks and quotes, so a word that breaks off in one goes on to the last @ of its line."""
    word = _WORD.match(text, start)
    line = _LINE.match(text, start)
    assert word is not None
    assert line is not None
    if "@" not in word[0] and "@" in line[0] and _BEGUN.match(line[0]):
        word = _WORD.match(text, start + line[0].rindex("@") + 1) or word
    address = text[start : word.end()]
    return start + len(address.rstrip(".,:;)}" if "[" in address else ".,:;)]}"))


def _show_address(scheme: str, rest: str) -> str:
    """The address as it is shown; empty where it can't be taken apart with certainty."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(scheme + rest)
    except (ArgumentError, ValueError):
        return ""
    host, database = url.host or "", url.database or ""
    if not _HOST.fullmatch(host) or (host and re.search(r":[^/@:]*@", database)):
        return ""
    user, options, path = _show_user(url), _show_options(rest, url), _show_path(host, database)
    if (user, options, path) == (url.username, rest.partition("?")[2] if url.query else "", database):
        return scheme + rest
    where = f"[{host}]" if ":" in host else host
    port = "" if url.port is None else f":{url.port}"
    folder = "" if url.database is None else "/" + percent(path, safe=" !$&'()*+,/:;=@~#\\")
    return f"{scheme}{user + '@' if user else ''}{where}{port}{folder}{'?' + options if options else ''}"


def _show_user(url: URL) -> str | None:
    """The user where a database needs no password: over HTTP it is often a token."""
    if url.username is None and url.password is None:
        return None
    from sqlalchemy.dialects import __all__ as databases

    is_database = url.get_backend_name() in (*databases, "postgres", "mariadb")
    return url.username if is_database and url.password is None and ":" not in (url.username or "") else HIDDEN


def _show_options(rest: str, url: URL) -> str:
    """The options, with the values of those alone that hold no secret."""
    if not url.query and "?" not in rest.rpartition("@")[2]:
        return ""
    return "&".join(map(_show_option, rest.rpartition("?")[2].split("&")))


def _show_option(option: str) -> str:
    name, sign, _ = option.partition("=")
    return option if name.lower() in HARMLESS else f"{name}={HIDDEN}" if sign else HIDDEN


def _show_path(host: str, database: str) -> str:
    """The database or path; what follows it on a server, such as `;user=me` or `#token=...`, is not shown."""
    return re.sub(r"\A([^;#&]*[;#&])[^=]*=.*", rf"\1{HIDDEN}", database, flags=re.S) if host else database


def locate_pages(address: str) -> str:
    """Where a person looks at what an MLflow store holds: a server's own address, or the command that shows a file."""
    return address if address.startswith("http") else f"mlflow ui --backend-store-uri {quote(address)}"
