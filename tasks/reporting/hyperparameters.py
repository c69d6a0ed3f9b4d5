"""What mattered in the searches, for a page: a line for each family, and its figures folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.analysis.importance import HyperparameterImportance, Importance
from models.errors import join_names
from models.outcome import Interval
from tasks.reporting.importance import Drawn
from tasks.reporting.page_parts import card, esc, figures, folded, table

_FIGURES = ("importance", "slices", "contour", "rank", "parallel", "history")
"""In the order in which the page shows them."""


def searched(made: Mapping[str, Drawn], shown: Sequence[str], where: str = "") -> str:
    """A table of what mattered in each family, and the figures of those `shown`; `where` says where all others are."""
    rows = [(esc(name), _most(one.importance), _together(one.importance), _of(one.importance))
            for name, one in made.items()]  # fmt: skip
    heads = ("family", "what mattered most", "together", "trials")
    whole = table(heads, rows, names=(0,))
    parts = [folded(f"Hyperparameters of {name}", body(made[name])) for name in shown if name in made]
    return whole + "".join(parts) + (f'<p class="dim">{esc(where)}</p>\n' if whole and where else "")


def body(one: Drawn) -> str:
    """One family: how much is known, each hyperparameter, the figures; nothing where there is none to show."""
    if one.importance.lack:
        return ""
    cards = [card(*one.figures[name]) for name in _FIGURES if name in one.figures]
    return f"<p>{esc(said(one.importance), 600)}</p>\n{_each(one.importance)}{figures(cards)}"


def said(mattered: Importance) -> str:
    """What the shares come from, and how far they are to be trusted."""
    if mattered.lack:
        return mattered.lack
    known = f"{mattered.trials:,} trials in {mattered.studies} studies (folds), {mattered.complete:,} of them complete."
    known += f" {mattered.left_out}" if mattered.left_out else ""
    told = f"A random forest explains {100 * mattered.explained:.0f} % of the variance of scores that it had not seen"
    little = ", so the shares say little" if mattered.explained < 0.1 else ""
    return f"{known} {told}{little}. Shares have 95 % intervals from a bootstrap over studies."


def _most(mattered: Importance) -> str:
    named = [f"{h.name} {h.whole.value:.2f}" for h in mattered.hyperparameters if h.whole][:3]
    return esc(", ".join(named)) or f'<span class="dim">{esc(mattered.lack)}</span>'


def _together(mattered: Importance) -> str:
    told = [f"{one} and {other} {share.value:.2f}" for one, other, share in mattered.pairs if share.value >= 0.02]
    return esc(join_names(told[:1], width=100)) or "-"


def _of(mattered: Importance) -> str:
    return f"{mattered.trials:,}"


def _each(mattered: Importance) -> str:
    heads = ("hyperparameter", "fANOVA, with one other", "fANOVA, alone", "PED-ANOVA", "in trials")
    return table(heads, [_row(one) for one in mattered.hyperparameters], numeric=(1, 2, 3, 4), names=(0,))


def _row(one: HyperparameterImportance) -> tuple[str, ...]:
    return (esc(one.name), *(_share(i) for i in (one.whole, one.alone, one.best)), f"{one.trials:,}")


def _share(one: Interval | None) -> str:
    return "too few" if one is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
