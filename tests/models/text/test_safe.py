"""Names of somebody's columns are shown, and do nothing: on a terminal, on pages, in a report."""

from __future__ import annotations

import io
import json
import logging
import re
import sys

import pytest
from rich.text import Text

from flows.screen import printing
from flows.screen.ending import write_message
from flows.screen.tables import SafeConsole, make_findings_table, make_rows_table
from models.data.table import Finding
from models.errors import InputError
from models.text.markdown import escape_markdown
from models.text.safe import escape_html, escape_json, to_line, to_printable
from tasks.system.secret_addresses import SafeLogFormatter

NAMES = {
    "colour": "\x1b[31mred\x1b[0m",
    "title of the window": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clear": "\x9b2J\x9b1;1H",
    "backwards": "abc\u202egpj.exe",
    "isolated": "\u2066a\u2069",
    "nothing wide": "a\u200bb\u2060c\ufeff",
    "lines": "a\r\nb\x0bc\x0cd\u2028e\x85f",
    "bell": "a\x07\x08b",
    "rich": "[red]a[/red] [link=http://evil.example]b[/link]",
    "markdown": "# [a](javascript:x) ![b](http://evil.example/p.png) `c` | d",
    "address": "https://evil.example www.evil.example me@evil.example",
    "html": "<script>alert(1)</script><img src=x onerror=y>\"'&",
    "long": "x" * 10_000,
    "surrogate": "a\udc80",
    "list": "1. a",
    "a tag": "a\U000e0041b",
}


@pytest.fixture(params=NAMES.values(), ids=list(NAMES))
def name(request) -> str:
    """A column's name that is more than a name."""
    return request.param


def harmless(text: str) -> bool:
    """Whether a terminal would only write it."""
    return all(c.isprintable() or c == "\n" for c in text)


def test_a_line_is_one_line_of_signs_that_can_be_seen(name):
    assert harmless(to_line(name))
    assert "\n" not in to_line(name)
    assert len(to_line(name)) <= 40
    assert to_line(name, 60) == to_line(name, 60)
    assert harmless(to_printable(name))
    assert to_printable("Größe 目标 é\nnext") == "Größe 目标 é\nnext"


def test_a_terminal_only_writes_it(name, capsys):
    write_message(f"Error: No column {name}.")
    finding = Finding("check", "warn", f"{name} is odd", (name,))
    printing.show_text(Text(name), make_findings_table([finding]), make_rows_table((name,), [(name,)]))
    printing.show_json({name: name})
    out, err = capsys.readouterr()
    assert harmless(out)
    assert harmless(err)
    assert "evil" not in name or "evil" in out


def test_a_terminal_with_colours_gets_none_but_ours(name):
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, width=100, color_system="truecolor")
    console.print(Text(name, style="bold"), markup=False)
    assert harmless(re.sub(r"\x1b\[[01]?m", "", file.getvalue()))


def test_errors_and_logs_only_say_it(name):
    """An error is what Prefect's states, logs and pages tell."""
    raised = InputError(f"No column {name}.\nIts columns: a")
    assert harmless(str(raised))
    assert str(raised).endswith("\nIts columns: a")
    try:
        raise ValueError(name) from raised
    except ValueError:
        record = logging.LogRecord("nestor", logging.ERROR, __file__, 1, "%s failed", (name,), sys.exc_info())
    assert harmless(SafeLogFormatter().format(record))


def test_json_says_what_the_data_say(name):
    written = escape_json(json.dumps({"a": name}, ensure_ascii=False))
    assert harmless(written)
    assert json.loads(written) == {"a": name}


def test_html_and_markdown_show_it(name):
    assert not re.search("[<>\"']", escape_html(name, 200).replace("&#x27;", ""))
    shown = escape_markdown(name)
    assert harmless(shown)
    assert not re.search(r"<|(?<!\\)[\[\]`*|]|://|\bwww\.|\w@\w|^#|^\d+\.", shown)


def test_standard_error_of_any_encoding_takes_it(name, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    write_message(name)
    assert raw.getvalue().isascii()
