"""What strangers try on a server of this machine: pages of another origin in the same browser, pages under a host name
that leads here (DNS rebinding), other users of the machine."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

EVIL = "https://evil.example"
_CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
_PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
AS_A_PAGE: dict[str, tuple[str, dict[str, str]]] = {
    "a request that no browser asks leave for": ("POST", {"Origin": EVIL, "Content-Type": "text/plain", **_CROSS}),
    "one that browsers ask leave for": ("POST", {"Origin": EVIL}),
    "a page in a file or a frame without rights": ("POST", {"Origin": "null"}),
    "a page of another user's server": ("POST", {"Origin": "http://localhost:8000"}),
    "the question for leave": ("OPTIONS", {"Origin": EVIL, **_PREFLIGHT}),
    "another host name": ("POST", {"Host": "evil.example"}),
    "a page under that name": ("POST", {"Host": "evil.example", "Origin": "http://evil.example"}),
    "an image": ("GET", _CROSS),
    "a frame": ("GET", {**_CROSS, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
}
"""By what it is: method and headers of a request that is refused even with the login, which a browser may add."""


def find_breaches(url: str, body: Any, login: str) -> list[str]:
    """The attacks that this address of a server's API, which takes the body, does not refuse."""
    found = [name for name, (method, headers) in AS_A_PAGE.items() if _comes_in(url, body, login, method, headers)]
    for name, wrong in (("nobody", ""), ("a wrong password", f"{login}x"), ("another name", f"x{login}")):
        found += [name] if _comes_in(url, body, wrong, "POST", {}) else []
    assert _comes_in(url, body, login, "POST", {}), "its owner is to come in"
    own = {"Origin": "/".join(url.split("/")[:3]), "Sec-Fetch-Site": "same-origin"}
    assert _comes_in(url, body, login, "POST", own), "its own page is to come in"
    return found


def _comes_in(url: str, body: Any, login: str, method: str, headers: dict[str, str]) -> bool:
    known = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    data = json.dumps(body).encode() if method == "POST" else None
    everything = {"Content-Type": "application/json", **known, **headers}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, everything, method=method), timeout=20):
            return True
    except urllib.error.HTTPError as error:
        # 405: a method that this address does not have, so it was asked; 500 and more: it did not know what to do
        return error.code == 405 or error.code >= 500
