"""The schedules that a search found, as a part of the report: how a setting changed while models were trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from models.analysis import plots
from tasks.reporting.page_parts import render_figure

_FIRST = "learning_rate"


def render_schedules(trials: pd.DataFrame, greater_is_better: bool) -> str:
    """A figure for each family whose trials have schedules; empty where none has."""
    if "steps" not in trials or not trials["steps"].notna().any():
        return ""
    known = trials[trials["steps"].notna()]
    return "".join(_render_family(str(name), own, greater_is_better) for name, own in known.groupby("family"))


def _render_family(name: str, own: pd.DataFrame, greater_is_better: bool) -> str:
    taken_up = set(zip(own["fold"], own["parent"], strict=True))
    ends = [(row.fold, row.number) not in taken_up for row in own.itertuples()]
    done = own[(own["state"] == "complete") & own["inner"].notna()]
    inner = done["inner"].astype(float).groupby(done["fold"])
    best = own.loc[inner.idxmax() if greater_is_better else inner.idxmin()]
    members, chosen = ([json.loads(steps) for steps in some["steps"]] for some in (own[ends], best))
    setting = _find_changed_setting(members)
    if setting is None:
        return ""
    caption = f"{name}: {setting} while models were trained. Thin: every member; thick: each fold's best."
    return render_figure(plots.plot_schedules(setting, members, chosen), caption)


def _find_changed_setting(members: Sequence[Any]) -> str | None:
    """The learning rate, else the first setting that changes; None where none does."""
    for name in sorted(members[0][0][1], key=lambda name: name != _FIRST):
        if any(len({settings[name] for _, settings in schedule}) > 1 for schedule in members):
            return name
    return None
