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


def render_importance(searches: Mapping[str, ImportanceFigures], names: Sequence[str], where: str = "") -> str:
    """A table of what mattered in each family, and the figures of those `names`; `where` says where all others are."""
    rows = [
        (to_html(name), _format_most_important(importance), _format_top_pair(importance), _count_trials(importance))
        for name, importance in ((name, figures.importance) for name, figures in searches.items())
    ]
    heads = ("family", "what mattered most", "together", "trials")
    table = render_table(heads, rows, names=(0,))
    parts = [
        render_folded(f"Hyperparameters of {name}", render_family(searches[name])) for name in names if name in searches
    ]
    return table + "".join(parts) + (f'<p class="dim">{to_html(where)}</p>\n' if table and where else "")


def render_family(search: ImportanceFigures) -> str:
    """One family: how much is known, each hyperparameter, the figures; nothing where there is none to show."""
    if search.importance.lack:
        return ""
    cards = [render_card(*search.figures[name]) for name in _FIGURES if name in search.figures]
    shares = f"<p>{to_html(describe_shares(search.importance), 600)}</p>\n"
    return shares + _render_hyperparameters(search.importance) + render_figures(cards)


def describe_shares(analysis: Importance) -> str:
    """What the shares come from, and how far they are to be trusted."""
    if analysis.lack:
        return analysis.lack
    basis = f"{analysis.trials:,} trials in {analysis.studies} studies (folds), {analysis.complete:,} of them complete."
    basis += f" {analysis.left_out}" if analysis.left_out else ""
    text = f"A random forest explains {100 * analysis.explained:.0f} % of the variance of scores that it had not seen"
    caveat = ", so the shares say little" if analysis.explained < 0.1 else ""
    return f"{basis} {text}{caveat}. Shares have 95 % intervals from a bootstrap over studies."


def _format_most_important(importance: Importance) -> str:
    texts = [f"{h.name} {h.whole.value:.2f}" for h in importance.hyperparameters if h.whole][:3]
    return to_html(", ".join(texts)) or f'<span class="dim">{to_html(importance.lack)}</span>'


def _format_top_pair(importance: Importance) -> str:
    texts = [f"{name} and {other} {share.value:.2f}" for name, other, share in importance.pairs if share.value >= 0.02]
    return to_html(join_names(texts[:1], width=100)) or "-"


def _count_trials(importance: Importance) -> str:
    return f"{importance.trials:,}"


def _render_hyperparameters(importance: Importance) -> str:
    heads = ("hyperparameter", "fANOVA, with one other", "fANOVA, alone", "PED-ANOVA", "in trials")
    return render_table(
        heads,
        [_make_row(hyperparameter) for hyperparameter in importance.hyperparameters],
        numeric=(1, 2, 3, 4),
        names=(0,),
    )


def _make_row(hyperparameter: HyperparameterImportance) -> tuple[str, ...]:
    return (
        to_html(hyperparameter.name),
        *(_format_share(i) for i in (hyperparameter.whole, hyperparameter.alone, hyperparameter.best)),
        f"{hyperparameter.trials:,}",
    )


def _format_share(interval: Interval | None) -> str:
    return "too few" if interval is None else f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
