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
    rows = trials[trials["steps"].notna()]
    return "".join(_render_family(str(name), group, greater_is_better) for name, group in rows.groupby("family"))


def _render_family(name: str, trials: pd.DataFrame, greater_is_better: bool) -> str:
    parents = set(zip(trials["fold"], trials["parent"], strict=True))
    ends = [(row.fold, row.number) not in parents for row in trials.itertuples()]
    complete_trials = trials[(trials["state"] == "complete") & trials["inner"].notna()]
    inner = complete_trials["inner"].astype(float).groupby(complete_trials["fold"])
    best = trials.loc[inner.idxmax() if greater_is_better else inner.idxmin()]
    members, best_members = ([json.loads(steps) for steps in rows["steps"]] for rows in (trials[ends], best))
    setting = _find_changed_setting(members)
    if setting is None:
        return ""
    caption = f"{name}: {setting} while models were trained. Thin: every member; thick: each fold's best."
    return render_figure(plots.plot_schedules(setting, members, best_members), caption)


def _find_changed_setting(members: Sequence[Any]) -> str | None:
    """The learning rate, else the first setting that changes; None where none does."""
    for name in sorted(members[0][0][1], key=lambda name: name != _FIRST):
        if any(len({settings[name] for _, settings in schedule}) > 1 for schedule in members):
            return name
    return None
