"""The report on a phone, a tablet and a desk, in a real browser: nothing is cut, letters can be read, print has all."""

from __future__ import annotations

import pytest

from models.data.table import Finding
from models.outcome import FamilyOutcome, Interval
from tasks.reporting.report import render_report
from tests.browser import open_browser
from tests.tasks.reporting import test_report as made

LONG = "a_very_long_name_of_a_column_that_somebody_exported_from_a_warehouse_view"
CUT = """() => {
  const wide = document.documentElement.clientWidth
  const boxed = e => { for (let p = e.parentElement; p; p = p.parentElement)
    if (p.matches('.rows')) return true; return false }
  return [...document.querySelectorAll('body *')].filter(e => !e.closest('svg') || e.tagName === 'svg')
    .filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.right > wide + 1 || r.left < -1) })
    .filter(e => !boxed(e)).map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`)
}"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('svg')].flatMap(svg => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
  return [...svg.querySelectorAll('text')].map(t => scale * parseFloat(getComputedStyle(t).fontSize)) }))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page with long names, twelve classes, and many families."""
    families = [FamilyOutcome(f"{LONG[:20]}_{k}", Interval(0.9, 0.8, 1.0), 0.9, 1000, 1e4, (), 0.1) for k in range(12)]
    task, more = made.CASES["multiclass"]
    findings = [Finding(LONG[:24], verdict, f"{LONG}, " * 4, (LONG,)) for verdict in ("pass", "warn", "stop")]
    chosen = {f"lightgbm (fold {k})": {LONG: 0.5, "rate": 1e-9} for k in range(5)}
    text = render_report(
        made.report(
            name=LONG, task=task, metric="roc_auc", families=tuple(families), winner=families[0].name,
            sentence=f"Expect {LONG}.", notes=(LONG * 2,), left_out={f"family_{k}": LONG for k in range(18)},
            tracking_uri=f"sqlite:////home/{LONG}/{LONG}/mlflow.db",
        ),
        made.details(**more, findings=findings, chosen=chosen, plan={LONG: LONG}),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_cut_and_letters_can_be_read(browser, report, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(report.as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    assert page.evaluate(SMALLEST) >= 6
    page.close()


def test_print_has_what_is_folded_and_is_light(browser, report):
    page = browser.new_page(viewport={"width": 718, "height": 1000}, color_scheme="dark")
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(34, 38, 44)"
    heights = page.evaluate("[...document.querySelectorAll('details .card')].map(e => e.offsetHeight)")
    assert heights
    assert min(heights) > 20
    page.close()
