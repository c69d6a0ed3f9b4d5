"""MLflow's first document chooses for who has chosen nothing, and nothing else that the server sends is touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks.tracking.server.opening import CHOSEN, add_opening_script

PAGE = b"<!doctype html><html><head><title>MLflow</title></head></html>"


def asked(path: str, parts: list[bytes], status: int = 200) -> tuple[dict[bytes, bytes], bytes]:
    """The headers and the body that come of an app which sends these parts."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(len(b"".join(parts))).encode()), (b"ETag", b"x"), (b"content-type", b"y")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for place, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": place < len(parts)})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(add_opening_script(app)({"type": "http", "path": path}, None, send))  # pyright: ignore
    assert sent[0]["status"] == status
    return dict(sent[0]["headers"]), b"".join(one["body"] for one in sent[1:])


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_the_first_document_has_the_script_however_it_is_sent(size):
    headers, body = asked("/", [PAGE[k : k + size] for k in range(0, len(PAGE), size)])
    assert all(name.encode() in body for name in CHOSEN)
    assert body.index(b"<script>") < body.index(b"<title>")
    assert headers == {b"content-length": str(len(body)).encode(), b"content-type": b"y"}


@pytest.mark.parametrize(("path", "body", "status"), [("/api", PAGE, 200), ("/", b"", 304), ("/", b"no", 403)])
def test_all_else_is_sent_as_it_is(path, body, status):
    headers, sent = asked(path, [body], status)
    assert sent == body
    assert headers[b"ETag"] == b"x"
