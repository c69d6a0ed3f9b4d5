"""What is looked at again and again: at once, until it says True, and once more at the end."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from tasks.system.watching import keep_watch

WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


def test_it_is_looked_at_at_once_with_the_callers_context():
    places, seen = [], threading.Event()
    WHERE.set("here")

    def look() -> None:
        places.append(WHERE.get())
        seen.set()

    with keep_watch(look, "test", every=1000.0):
        assert seen.wait(10)
    assert places == ["here"]


def test_a_look_that_says_true_is_the_last():
    looks, enough = [], threading.Event()

    def look() -> bool:
        looks.append(1)
        if len(looks) == 3:
            enough.set()
        return len(looks) == 3

    with keep_watch(look, "test-true", every=0.001):
        assert enough.wait(10)
        for thread in threading.enumerate():
            if thread.name == "test-true":
                thread.join(10)
                assert not thread.is_alive()
    assert len(looks) == 3


def test_what_is_last_is_done_after_the_block_and_after_an_error_too():
    order: list[str] = []
    with keep_watch(lambda: True, "test", last=lambda: order.append("last")):
        order.append("block")
    assert order == ["block", "last"]
    with pytest.raises(ValueError), keep_watch(lambda: None, "test", every=1000.0, last=lambda: order.append("again")):  # noqa: PT011
        raise ValueError
    assert order == ["block", "last", "again"]
