"""How MLflow's page opens for who has chosen nothing yet: on training and not on GenAI, and without the assistant,
which would take a third of it. The page keeps such choices in the browser and asks the server for none of them: MLflow
3.17 heeds no experiment's kind there. So its first document gets a script that chooses where nothing is chosen."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

CHOSEN = {"mlflow.workflowType_v1": "machine_learning", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True}
"""Names and values as the page's own code keeps them."""
_SCRIPT = (
    f"<script>for (const [name, value] of Object.entries({json.dumps(CHOSEN)})) "
    "if (localStorage.getItem(name) === null) localStorage.setItem(name, JSON.stringify(value))</script>"
).encode()
_OF_THE_FILE = (b"content-length", b"etag", b"last-modified")


def add_opening_script(app: App) -> App:
    """The ASGI app, its first document with the script."""

    async def opened(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        is_first = scope["type"] == "http" and scope["path"] == "/"
        await app(scope, receive, _ScriptSender(send) if is_first else send)

    return opened


class _ScriptSender:
    """Holds a document back until it is whole, and sends it with the script."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]):
        self.send, self.start, self.body = send, dict[str, Any](), b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = dict(message)
            return
        self.body += message.get("body", b"")
        if not message.get("more_body"):
            body = self.body.replace(b"<head>", b"<head>" + _SCRIPT, 1)
            if body != self.body:
                headers = [(k, v) for k, v in self.start["headers"] if k.lower() not in _OF_THE_FILE]
                self.start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
            await self.send(self.start)
            await self.send({"type": "http.response.body", "body": body})
