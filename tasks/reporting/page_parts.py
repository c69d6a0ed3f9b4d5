"""Pieces of a self-contained html page. Every text passes `to_html` on its way in; figures become inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from models.analysis.plots import GRID, INK, WIDE
from models.text.safe import escape_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSS = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #22262c; --dim: #697079; --line: #e3e5e8;
  --blue: #2f6fc0; --green: #2d8a5f; --amber: #a8660f; --red: #b83b41; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #15181c; --card: #1c2025; --ink: #e4e7eb;
  --dim: #98a1ab; --line: #31373f; --blue: #74a9ec; --green: #62c095; --amber: #e2a44f; --red: #ee8086; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 44px 0 12px; }
p { margin: 8px 0; }
.dim, .meta { color: var(--dim); }
.meta { font-size: 13.5px; }
.headline { font-size: 18px; line-height: 1.5; margin: 20px 0 24px; max-width: 46em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 25px; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--dim); font-size: 13px; display: block; }
.tile .name { color: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; }
.rows { background: linear-gradient(270deg, var(--card) 8px, transparent) right / 28px 100% no-repeat local,
  linear-gradient(270deg, var(--line), transparent) right / 20px 100% no-repeat scroll, var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--dim); font-weight: 500; font-size: 13px; }
th, td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.rows { overflow-wrap: break-word; }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
td.k, th.k { width: 1%; white-space: nowrap; padding-right: 28px; }
tr.best td { font-weight: 600; }
.bar { display: inline-block; height: 8px; border-radius: 4px; background: var(--blue); vertical-align: middle;
  margin-right: 8px; }
.pass { color: var(--green); } .warn { color: var(--amber); } .stop { color: var(--red); font-weight: 600; }
.figures { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start; margin-top: 12px; }
.figures .card { flex: 1 1 290px; min-width: min(290px, 100%); max-width: 100%; padding: 10px; }
.figures .wide { flex: 1 1 440px; min-width: min(440px, 100%); max-width: 620px; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; margin: 0 auto; }
figcaption { color: var(--dim); font-size: 13px; margin: 6px 4px 0; }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--blue); }
code { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { margin-top: 56px; color: var(--dim); font-size: 13px; }
@media (max-width: 640px) {
  main { padding: 24px 14px 48px; } h1 { font-size: 22px; } .headline { font-size: 16.5px; } ul { padding-left: 20px; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 8px; }
  .tile, .card, .figures .card { padding: 10px; } .tile b { font-size: 21px; }
  .rows th:first-child, .rows td:first-child { position: sticky; left: -10px; background: var(--card); font-size: 13px;
    white-space: normal; overflow-wrap: anywhere; min-width: 112px; max-width: 168px; padding-left: 10px; }
  .texts table, .texts tbody, .texts tr, .texts td { display: block; width: auto; white-space: normal; }
  .texts thead { display: none; } .texts td { border: 0; padding: 1px 0; text-align: left; }
  .texts tr { padding: 7px 0; border-bottom: 1px solid var(--line); } .texts tr:last-child { border: 0; }
  .texts td:first-child { font-weight: 600; }
  .texts td[data-head]::before { content: attr(data-head) ": "; color: var(--dim); }
}
@media print {
  body { background: #fff; } main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  tr, figure, .tile { break-inside: avoid; } .scroll { overflow: visible; }
  details::details-content { content-visibility: visible; display: block; }
}
"""

# A strict policy in the page itself: whatever a name in the table tries, nothing is loaded and nothing runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(value: object, width: int = 300) -> str:
    """The value as one line of html text."""
    return escape_html(value, width)


def render_page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{to_html(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n<main>\n{''.join(p for p in parts if p)}</main>\n</body>\n</html>\n"
    )


def render_section(title: str, *parts: str) -> str:
    """A section with its heading; nothing where all parts are empty."""
    body = "".join(parts)
    return f"<section>\n<h2>{to_html(title)}</h2>\n{body}</section>\n" if body else ""


def render_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numeric: Sequence[int] = (),
    names: Sequence[int] = (),
    best: int | None = None,
) -> str:
    """A table of cells that are html already; `numeric` columns stand to the right, `names` never wrap. On a
    narrow screen a table with numbers scrolls beside its first column, and texts stand one below the other."""
    kinds = {**dict.fromkeys(numeric, " class=n"), **dict.fromkeys(names, " class=k")}
    if not numeric and len(heads) > 3:  # texts of so many kinds, one below the other, need their heads
        kinds |= {k: f'{kinds.get(k, "")} data-head="{to_html(heads[k])}"' for k in range(1, len(heads))}

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{kinds.get(k, '')}>{cell}</{tag}>" for k, cell in enumerate(row))

    body = "".join(f"<tr{' class=best' if k == best else ''}>{cells('td', row)}</tr>\n" for k, row in enumerate(rows))
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>\n" if heads else ""
    kind = "rows" if numeric else "texts"
    return f'<div class="scroll card {kind}"><table>\n{head}<tbody>\n{body}</tbody></table></div>\n' if body else ""


def render_figures(cards: Iterable[str]) -> str:
    """Figures side by side where there is room; nothing without any."""
    body = "".join(cards)
    return f'<div class="figures">\n{body}</div>\n' if body else ""


def render_folded(summary: str, body: str) -> str:
    """What is there but not in the way."""
    return f"<details><summary>{to_html(summary)}</summary>\n{body}</details>\n" if body else ""


def render_tile(name: str, value: str, note: str) -> str:
    """A number worth a box of its own."""
    words = f'<span class="name">{to_html(name)}</span><b>{to_html(value)}</b><span>{to_html(note)}</span>'
    return f'<div class="tile">{words}</div>\n'


def render_figure(figure: Figure, caption: str) -> str:
    """The figure as inline SVG whose text and lines take the page's colours."""
    return render_card(to_svg(figure, caption), caption, figure.get_figwidth() >= WIDE)


def render_card(element: str, caption: str, wide: bool = True) -> str:
    """An SVG element with its caption."""
    kind = "card wide" if wide else "card"
    return f'<figure class="{kind}">{element}<figcaption>{to_html(caption)}</figcaption></figure>\n'


def to_svg(figure: Figure, label: str) -> str:
    """The figure's SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids on groups repeat between figures, and nothing refers to them
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    text = text.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    width = round(figure.get_figwidth() * 130)  # pixels; beyond that the letters grow out of proportion
    return text.replace("<svg", f'<svg role="img" aria-label="{to_html(label)}" style="max-width: {width}px"', 1)


_ALONE = """<style>:root { --ink: #22262c; --line: #e3e5e8; background: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --line: #31373f; background: #1c2025 } }</style>"""


def to_svg_file(element: str) -> str:
    """An SVG element as a file of its own, light or dark as its reader likes."""
    return re.sub(r"(<svg[^>]*>)", lambda match: match.group(1) + _ALONE, element, count=1)
