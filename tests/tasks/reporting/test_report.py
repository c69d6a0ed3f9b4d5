"""The report page: whole, harmless and self-contained, for every task and with nothing at all."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from models.analysis import plots
from models.data.table import Finding
from models.outcome import EvaluationPlan, FamilyOutcome, Interval, Report, ReportWarning
from tasks.reporting.page_parts import to_html
from tasks.reporting.report import ReportDetails, render_report

EVIL = "<script>alert('$x^2$')</script> \"&größer 目标\" [red]"
VOID = {"meta", "br", "img", "link", "input", "hr"}
rng = np.random.default_rng(0)
ROWS = 400
CODES = rng.integers(0, 2, ROWS)
PROBABILITY = np.clip(rng.normal(0.3 + 0.4 * CODES, 0.15), 0.01, 0.99)
FOLD = np.arange(ROWS) % 5


class Page(HTMLParser):
    """Notes tags, attributes and text, and that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def trials(families=("lightgbm", EVIL)):
    rows = [
        (family, str(fold), k, "complete" if k % 4 else "pruned", 0.8 + 0.01 * k if k % 4 else None, 0.1)
        for family in families
        for fold in range(5)
        for k in range(20)
    ]
    return pd.DataFrame(rows, columns=["family", "fold", "number", "state", "inner", "seconds"])


def report(**more):
    values = {
        "name": EVIL, "version": 1, "run_id": "abc", "task": "binary", "metric": "roc_auc", "winner": EVIL,
        "how": EvaluationPlan("nested", 5, 4), "estimate": Interval(0.92, 0.91, 0.93),
        "test": Interval(0.91, 0.9, 0.92),
        "optimism": 0.01, "agreement": 0.4,
        "families": (
            FamilyOutcome(EVIL, Interval(0.92, 0.91, 0.93), 0.93, 100, 3.0, (), 0.7),
            FamilyOutcome("linear", None, None, 5, 0.1),
        ),
        "trials": {"complete": 150, "pruned": 50}, "seconds": {"total": 60.0, "tuning": float("nan")},
        "warnings": (ReportWarning("w", EVIL),), "left_out": {EVIL: EVIL}, "sentence": EVIL, "notes": (EVIL,),
        "alias": "champion", "tracking_uri": EVIL,
    }  # fmt: skip
    return Report(**{**values, **more})


def details(**more):
    values = {
        "trials": trials(),
        "findings": [Finding(EVIL, verdict, EVIL, (EVIL,)) for verdict in ("pass", "warn", "stop")],
        "outer": {"target": CODES, "prediction": np.c_[1 - PROBABILITY, PROBABILITY], "fold": FOLD},
        "classes": (EVIL, f"not {EVIL}"),
        "chosen": {EVIL: {EVIL: EVIL, "rate": 0.0123456}},
        "plan": {"families": [EVIL], "rows": list(range(100_000)), EVIL: {"salt": EVIL, "deep": {"a": 1}}},
    }
    return ReportDetails(**{**values, **more})


MULTI = rng.integers(0, 20, ROWS)
ODDS = rng.dirichlet(np.ones(20), ROWS)
VALUES = rng.normal(100, 10, ROWS)
CASES = {
    "binary": ("binary", {}),
    "binary, one column": ("binary", {"outer": {"target": CODES, "prediction": PROBABILITY, "fold": FOLD}}),
    "binary, labels": ("binary", {"outer": {"target": CODES, "prediction": 1 - CODES, "fold": FOLD}}),
    "binary, one class": ("binary", {"outer": {"target": 0 * CODES, "prediction": PROBABILITY, "fold": FOLD}}),
    "multiclass": (
        "multiclass",
        {"outer": {"target": MULTI, "prediction": ODDS, "fold": FOLD}, "classes": [f"{EVIL}{k}" for k in range(20)]},
    ),
    "multiclass, labels": (
        "multiclass",
        {"outer": {"target": MULTI, "prediction": MULTI[::-1], "fold": FOLD}, "classes": list(range(20))},
    ),
    "regression": (
        "regression",
        {
            "outer": {"target": VALUES, "prediction": VALUES + 1, "fold": FOLD},
            "classes": (),
            "greater_is_better": False,
        },
    ),
    "regression, constant": (
        "regression",
        {"outer": {"target": 0 * VALUES, "prediction": 0 * VALUES, "fold": FOLD}, "classes": ()},
    ),
    "not finite": (
        "regression",
        {"outer": {"target": VALUES, "prediction": VALUES * np.nan, "fold": FOLD}, "classes": ()},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_whole_and_harmless(case):
    task, more = CASES[case]
    text = render_report(report(task=task, metric="rmse" if task == "regression" else "roc_auc"), details(**more))
    page = Page(text)
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    # `xlink:href` inside the plots points into the page or holds the picture itself
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(value.startswith(("#", "data:image/png")) for value in links)
    assert not re.search(r"url\((?!#)", text)
    assert to_html(EVIL) in text
    boxes = [float(width) for width in re.findall(r'<svg[^>]* viewBox="0 0 ([\d.]+)', text)]
    assert max(boxes) <= 72 * plots.WIDE, "a phone shows no more"
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) or all(value[0] in "mpCD" for value in ids)  # defs of plots only


@pytest.mark.parametrize(("case", "plots"), [("binary", 3), ("multiclass", 1), ("regression", 3), ("not finite", 0)])
def test_each_task_has_its_figures(case, plots):
    task, more = CASES[case]
    page = Page(render_report(report(task=task), details(**more)))
    assert page.tags.count("svg") == plots + 2  # the intervals and the search


def test_a_page_of_a_run_with_next_to_nothing():
    empty = ReportDetails(trials=pd.DataFrame())
    bare = report(version=None, run_id=None, estimate=None, test=None, optimism=None, agreement=None, families=(),
                  trials={}, seconds={}, warnings=(), left_out={}, notes=(), sentence="", alias=None, tracking_uri=None,
                  how=EvaluationPlan("holdout", 0, 1))  # fmt: skip
    page = Page(render_report(bare, empty))
    assert "svg" not in page.tags
    assert "leads by inner score" in "".join(page.words)


def test_row_numbers_are_not_told_and_passes_are_folded():
    text = render_report(report(), details())
    assert "99999" not in text
    assert "1 checks passed" in text
    assert text.index("✗ stop") < text.index("! warning") < text.index("✓ pass")


def test_a_dear_sign_in_a_name_is_no_formula_and_figures_keep_their_hands_off_global_state():
    import matplotlib

    before = dict(matplotlib.rcParams)
    render_report(report(metric="$\\frac{$"), details())
    assert dict(matplotlib.rcParams) == before
    import sys

    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_what_is_not_tried_is_folded_after_what_the_model_predicts():
    text = render_report(report(), details())
    heads = [html.unescape(one) for one in re.findall(r"<h2>(.*?)</h2>", text)]
    assert heads == [
        "How good it is", "Families", "What it predicts", "The search", "Checks", "How the numbers were made",
        "Configurations chosen", "Not tried",
    ]  # fmt: skip
    assert "<details><summary>1 family, and why" in text
