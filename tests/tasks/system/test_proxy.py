"""A proxy in the environment is asked for other machines, and for this one never."""

import asyncio
import socket
import urllib.request

import httpx
import pytest
import requests
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from tasks.system.proxy import spare_this_machine

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def dead(monkeypatch):
    """A proxy that nobody answers at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{bound.getsockname()[1]}")
        yield


async def _talked():
    """What each of the clients that Nestor uses hears from a server on this machine."""

    def answer(connection, request):
        return connection.respond(200, "here") if request.path == "/plain" else None

    async def echo(connection):
        await connection.send(await connection.recv())

    async with serve(echo, "127.0.0.1", 0, process_request=answer) as server:
        port = server.sockets[0].getsockname()[1]
        plain = f"http://127.0.0.1:{port}/plain"
        said = [
            await asyncio.to_thread(lambda: httpx.get(plain).text),
            await asyncio.to_thread(lambda: requests.get(plain, timeout=5).text),
        ]
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            await socket.send("here")
            return [*said, await socket.recv()]


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "b.example"}])
def test_this_machine_is_spared_and_what_was_spared_still_is(dead, monkeypatch, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, given.get(name, ""))  # so that it is as before after the test
    spare_this_machine()
    spare_this_machine()
    assert asyncio.run(_talked()) == ["here"] * 3
    assert all(urllib.request.proxy_bypass(host) for host in given.values())
    assert not urllib.request.proxy_bypass("c.example")


def test_without_a_proxy_the_environment_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "a.example")
    spare_this_machine()
    assert urllib.request.getproxies_environment() == {"no": "a.example"}
