"""A user's text within markdown is shown letter by letter."""

from __future__ import annotations

import re

import pytest

from models.text.markdown import escape_markdown

TEXTS = [
    "roc_auc and log_loss", "**bold**", "[a link](http://x)", "![a picture](http://x/p.png)", "<img src=x onerror=y>",
    "`code`", "# a heading\n\n- a list", "a | b", "a\\b", "&lt;script&gt;", "größer 目标", "",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_is_there_and_nothing_in_it_is_markup(text):
    shown = escape_markdown(text)
    assert "\n" not in shown
    assert "<" not in shown
    bare = re.sub(r"\\.", "", shown)
    assert not re.search(r"[`*_\[\]#|\\]", bare)
    entities = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
    read = re.sub("&lt;|&gt;|&amp;", lambda found: entities[found[0]], re.sub(r"\\(.)", r"\1", shown))
    assert read == " ".join(text.split())
