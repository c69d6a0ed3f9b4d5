"""A proxy is for other machines: what Nestor's own processes say to each other must not go by it."""

from __future__ import annotations

import os

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
HERE = ("127.0.0.1", "localhost", "::1")
"""This machine. Clients in Python (httpx, requests, websockets) take it for any other one."""


def spare_this_machine() -> None:
    """Adds this machine to NO_PROXY, for this process and those that it starts. Without a proxy in the environment
    nothing changes: on macOS that variable alone would hide the system's proxies."""
    if not any(value and name.lower() in _PROXIES for name, value in os.environ.items()):
        return
    variables = {name: os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    for name, value in variables.items():
        hosts = [host.strip() for host in (value or max(variables.values())).split(",") if host.strip()]
        if "*" not in hosts:
            os.environ[name] = ",".join(dict.fromkeys([*hosts, *HERE]))
