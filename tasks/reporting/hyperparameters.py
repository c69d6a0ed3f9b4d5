"""What mattered in the searches, for a page: a line for each family, and its figures folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.analysis.importance import HyperparameterImportance, Importance
from models.errors import join_names
from models.outcome import Interval
from tasks.reporting.importance import ImportanceFigures
from tasks.reporting.page_parts import render_card, render_figures, render_folded, render_table, to_html

_FIGURES = ("importance", "slices", "contour", "rank", "parallel", "history")
"""In the order in which the page shows them."""


def render_importance(made: Mapping[str, ImportanceFigures], shown: Sequence[str], where: str = "") -> str:
    """A table of what mattered in each family, and the figures of those `shown`; `where` says where all others are."""
    rows = [
        (to_html(name), _format_most_important(found), _format_top_pair(found), _count_trials(found))
        for name, found in ((name, figures.importance) for name, figures in made.items())
    ]
    heads = ("family", "what mattered most", "together", "trials")
    whole = render_table(heads, rows, names=(0,))
    parts = [render_folded(f"Hyperparameters of {name}", render_family(made[name])) for name in shown if name in made]
    return whole + "".join(parts) + (f'<p class="dim">{to_html(where)}</p>\n' if whole and where else "")


def render_family(one: ImportanceFigures) -> str:
    """One family: how much is known, each hyperparameter, the figures; nothing where there is none to show."""
    if one.importance.lack:
        return ""
    cards = [render_card(*one.figures[name]) for name in _FIGURES if name in one.figures]
    shares = f"<p>{to_html(describe_shares(one.importance), 600)}</p>\n"
    return shares + _render_hyperparameters(one.importance) + render_figures(cards)


def describe_shares(mattered: Importance) -> str:
    """What the shares come from, and how far they are to be trusted."""
    if mattered.lack:
        return mattered.lack
    known = f"{mattered.trials:,} trials in {mattered.studies} studies (folds), {mattered.complete:,} of them complete."
    known += f" {mattered.left_out}" if mattered.left_out else ""
    told = f"A random forest explains {100 * mattered.explained:.0f} % of the variance of scores that it had not seen"
    little = ", so the shares say little" if mattered.explained < 0.1 else ""
    return f"{known} {told}{little}. Shares have 95 % intervals from a bootstrap over studies."


def _format_most_important(mattered: Importance) -> str:
    named = [f"{h.name} {h.whole.value:.2f}" for h in mattered.hyperparameters if h.whole][:3]
    return to_html(", ".join(named)) or f'<span class="dim">{to_html(mattered.lack)}</span>'


def _format_top_pair(mattered: Importance) -> str:
    told = [f"{one} and {other} {share.value:.2f}" for one, other, share in mattered.pairs if share.value >= 0.02]
    return to_html(join_names(told[:1], width=100)) or "-"


def _count_trials(mattered: Importance) -> str:
    return f"{mattered.trials:,}"


def _render_hyperparameters(mattered: Importance) -> str:
    heads = ("hyperparameter", "fANOVA, with one other", "fANOVA, alone", "PED-ANOVA", "in trials")
    return render_table(heads, [_make_row(one) for one in mattered.hyperparameters], numeric=(1, 2, 3, 4), names=(0,))


def _make_row(one: HyperparameterImportance) -> tuple[str, ...]:
    return (to_html(one.name), *(_format_share(i) for i in (one.whole, one.alone, one.best)), f"{one.trials:,}")


def _format_share(one: Interval | None) -> str:
    return "too few" if one is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
