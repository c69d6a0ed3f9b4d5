"""The door of the servers, without a server: who is let in, and who is not."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tasks.system.door import Door, list_host_names

LOGIN = "nestor:0123"
OWN, EVIL = "http://127.0.0.1:4200", "https://evil.example"
SOCKET = "ws://127.0.0.1:4200/api/events/in"


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def inside(*origins: str, login: str = "") -> TestClient:
    """A client of an app behind the door, which answers `in` wherever it is asked."""

    async def answer(_: Any) -> PlainTextResponse:
        return PlainTextResponse("in")

    async def talk(socket: Any) -> None:
        await socket.accept()
        await socket.send_text("in")
        await socket.close()

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app = Starlette(routes=[WebSocketRoute("/api/events/in", talk), Route("/{path:path}", answer, methods=methods)])
    return TestClient(Door(app, origins, login, list_host_names()), base_url=OWN)


def came_in(client: TestClient, method: str = "POST", path: str = "/api/x", **headers: str) -> bool:
    answer = client.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert (answer.text == "in") == (answer.status_code < 400)
    return answer.text == "in"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", [EVIL, "null", "http://localhost:8000", "http://127.0.0.1", f"{OWN}0", "http://[", ""]
)
def test_a_page_of_another_origin_is_refused_whatever_it_asks(method, origin):
    """Simple requests too, which no browser asks leave for; the login, which a browser may add, helps nobody."""
    assert not came_in(inside("http://localhost:4200", login=LOGIN), method, origin=origin, authorization=basic(LOGIN))


def test_the_servers_own_process_comes_in_by_its_name_and_nobody_over_a_network():
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("in")(scope, receive, send)

    async def over_a_network(scope: Any, receive: Any, send: Any) -> None:
        await guarded({**scope, "server": ("127.0.0.1", 4200)}, receive, send)

    guarded = Door(answer, hosts=list_host_names(), itself="server-in-memory")
    for app, name, code in [
        (guarded, "server-in-memory", 200),
        (guarded, "other-in-memory", 400),
        (over_a_network, "server-in-memory", 400),
    ]:
        assert TestClient(app, base_url=f"http://{name}").get("/api/x").status_code == code


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("mode", "dest"), [("no-cors", "image"), ("navigate", "iframe"), ("no-cors", "script")])
def test_nor_may_it_load_or_show_what_is_behind(site, mode, dest):
    assert not came_in(inside(), "GET", "/", sec_fetch_site=site, sec_fetch_mode=mode, sec_fetch_dest=dest)


def test_it_may_link_to_the_page_and_not_to_the_api():
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert came_in(inside(), "GET", "/runs/1", **link)
    assert not came_in(inside(), "GET", "/api/runs/1", **link)
    assert not came_in(inside(), "GET", "/ajax-api/2.0/x", **link)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_another_host_name_is_refused(method, host):
    assert not came_in(inside(), method, host=host)
    assert not came_in(inside(), method, host=host, origin=f"http://{host}")  # a page under that name: rebinding


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "localhost:4300", "LOCALHOST:4200"])
def test_the_own_page_comes_in_by_every_name_of_this_machine(host):
    """A port may be another one, by `ssh -L 4300:127.0.0.1:4200`."""
    assert came_in(inside(), host=host, origin=f"http://{host}", sec_fetch_site="same-origin")
    assert came_in(inside(), host=host)


def test_the_page_may_ask_this_server_alone_and_stand_in_no_other_page():
    policy = inside("http://localhost:4200", "").get("/").headers["content-security-policy"]
    assert policy == "frame-ancestors 'self'; connect-src 'self' http://localhost:4200 ws://localhost:4200"


def test_more_is_open_where_somebody_says_so(monkeypatch):
    assert came_in(inside("https://team.example"), origin="https://team.example")
    assert came_in(inside("*"), origin=EVIL)
    monkeypatch.setenv("NESTOR_HOSTS", "team.example, other.example")
    assert came_in(inside(), host="team.example", origin="https://team.example")
    assert not came_in(inside(), host=EVIL)


@pytest.mark.parametrize("said", ["", "Basic", "Basic !!", "Bearer 0123", LOGIN])
@pytest.mark.parametrize("login", ["", ":", "nestor:", "nestor:0124", "0123", f"{LOGIN}x"])
def test_without_the_login_nobody_comes_in(said, login):
    client, said = inside(login=LOGIN), said or basic(login)
    for path in ("/", "/api/x", "/health/..", "/health/x", "//health"):
        assert not came_in(client, "GET", path, authorization=said), path
    assert client.get("/").headers["www-authenticate"].startswith("Basic ")
    assert came_in(client, "GET", "/health")


def test_with_the_login_a_program_comes_in():
    assert came_in(inside(login=LOGIN), authorization=basic(LOGIN))
    assert came_in(inside(login="ä:ö"), authorization=basic("ä:ö").replace("Basic ", "basic  "))


@pytest.mark.parametrize("headers", [{"origin": EVIL}, {"host": "evil.example"}])
def test_a_socket_is_behind_the_same_door(headers):
    with pytest.raises(WebSocketDisconnect), inside().websocket_connect(SOCKET, headers=headers):
        pass
    with inside().websocket_connect(SOCKET, headers={"origin": OWN}) as socket:
        assert socket.receive_text() == "in"
