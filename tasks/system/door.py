"""The door of a server: it is asked by its own name, from its own page, and with its login, or it does not answer.

Its page may ask this server and no other: Prefect's, before it knows that analytics are off, would call a company that
records sessions.

A page of another origin in the same browser may send requests to a server on this machine: CORS keeps it from reading
the answers, and from some requests, not from all. Under a name of its own that leads to 127.0.0.1 (DNS rebinding) it
would even be of the same origin. And every user of a machine reaches its ports."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketClose

from tasks.system.proxy import HERE

App = Callable[[Any, Any, Any], Awaitable[None]]
HOSTS = "NESTOR_HOSTS"
"""Names by which a server is asked, beside this machine's own: a proxy's."""
_HEALTH = "/health"
_APIS = ("/api/", "/ajax-api/")


def list_host_names() -> tuple[str, ...]:
    """The host names by which a server may be asked: this machine's, and those in NESTOR_HOSTS."""
    names = (name.strip().lower() for name in os.environ.get(HOSTS, "").split(","))
    return (*HERE, *filter(None, names))


class Door:
    """An ASGI app that refuses what comes from elsewhere."""

    def __init__(
        self, app: App, origins: Iterable[str] = (), login: str = "", hosts: Iterable[str] | None = None,
        itself: str | None = None,
    ) -> None:  # fmt: skip
        """Wraps `app`. `origins`: other pages that may ask; `login`: `name:password` that everybody has to give;
        `hosts`: the only names by which it may be asked; `itself`: the name by which its own process asks it, over no
        network."""
        self.itself = itself
        self.hosts = None if hosts is None else frozenset(hosts)
        self.app, self.origins, self.login = app, frozenset(filter(None, origins)), login
        sources = [
            "'self'",
            *sorted(self.origins),
            *(origin.replace("http", "ws", 1) for origin in sorted(self.origins)),
        ]
        self.policy = (
            f"frame-ancestors 'self'; connect-src {'*' if '*' in self.origins else ' '.join(sources)}".encode()
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes the call on, or answers why not."""
        refusal = self._explain_refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal and scope["type"] == "websocket":
            refusal = WebSocketClose(WS_1008_POLICY_VIOLATION)  # uvicorn would log an answer as an error

        async def bounded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", self.policy)]
            await send(message)

        await (refusal or self.app)(scope, receive, bounded)

    def _explain_refusal(self, scope: Any) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self.hosts is not None and _read_host(headers) not in self.hosts and not self._asks_itself(scope):
            return PlainTextResponse("Refused: invalid host header.", 400)
        if self._is_foreign(scope, headers):
            return PlainTextResponse("Refused: this comes from a page of another origin.", 403)
        if self.login and not self._is_known(scope, headers):
            challenge = {"WWW-Authenticate": 'Basic realm="Nestor", charset="UTF-8"'}
            return PlainTextResponse("Name and password, please: `nestor up` has said them.", 401, challenge)
        return None

    def _asks_itself(self, scope: Any) -> bool:
        """Whether the call comes from this very process: of one over a network `server` is the socket's address, which
        no header changes."""
        return self.itself is not None and (scope.get("server") or ("",))[0] == self.itself

    def _is_foreign(self, scope: Any, headers: Headers) -> bool:
        if "*" in self.origins:
            return False
        if (origin := headers.get("origin")) is not None:
            return origin.partition("://")[2] != headers.get("host") and origin not in self.origins
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return False  # no browser, or no page of another
        # A link may lead to our page; it may not ask the API, nor show our page inside another.
        mode = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        return mode != ("navigate", "document") or scope["path"].startswith(_APIS)

    def _is_known(self, scope: Any, headers: Headers) -> bool:
        if scope["path"] == _HEALTH or scope.get("method") == "OPTIONS":  # a browser asks these without a login
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        secret = base64.b64encode(self.login.encode()).decode()
        return kind.lower() == "basic" and hmac.compare_digest(token.strip().encode(), secret.encode())


def _read_host(headers: Headers) -> str | None:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        return None
