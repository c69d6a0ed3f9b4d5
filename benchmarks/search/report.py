"""Tables and figures of the race and of the real runs: `python -m benchmarks.search.report --folder OUT [--trials 60]
[--figures docs] [--data DATA]`. Prints markdown; writes search-race.svg, search-ranks.svg and search-real.svg."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.search import ranks
from benchmarks.search.race import load_contestants
from benchmarks.search.regret import compute_scales, mark_defaults, trace_over_seconds, trace_over_trials
from benchmarks.search.surrogate import DATA, HEAD, Surrogate, fit_surrogate, measure_quality
from benchmarks.stamp import print_table
from models.search import load_strategies

RANDOM = "random"


def main() -> None:
    """Prints what there is: surrogates, race, real runs."""
    asked = _parse_arguments()
    known = {path.stem: fit_surrogate(path) for path in sorted(asked.data.glob("*.parquet"))}
    print_table("Surrogates", HEAD, [measure_quality(one) for one in known.values()])
    for kind, title in (("race", "Strategies against surrogates"), ("real", "Real fits, and what the field uses")):
        files = sorted((asked.folder / kind).glob("*.parquet"))
        rows = pd.concat([pd.read_parquet(f) for f in files]) if files else pd.DataFrame()
        if len(rows):
            _report_runs(title, kind, rows[rows["problem"].isin(known)], known, asked)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--figures", type=Path, default=None, help="a folder for the figures")
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


def _report_runs(
    title: str, kind: str, rows: pd.DataFrame, known: Mapping[str, Surrogate], asked: argparse.Namespace
) -> None:
    """Prints the tables of one kind of runs and writes their figures."""
    rows = mark_defaults(rows, list(load_contestants()))
    scale = compute_scales(rows, known, real=kind == "real")
    trials, seconds = trace_over_trials(rows, scale, asked.trials), trace_over_seconds(rows, scale)
    last = trials.iloc[:, -1].groupby(["strategy", "problem"]).mean().unstack("strategy")
    whole = [name for name in last if last[name].notna().all() and not _hands_over(name)]
    found = ranks.compute_ranks(last[whole]) if min(last[whole].shape) > 2 else None
    print_table(
        f"{title}: {_describe_size(rows, asked.trials)}",
        _make_head(asked.trials),
        _make_rows(rows, trials, seconds, found),
    )
    if found:
        print(f"Friedman's p that all are alike: {found.friedman:.2g}; mean ranks that differ by more than "
              f"{found.difference:.2f} differ (Nemenyi, 0.05, {found.problems} problems).\n")  # fmt: skip
    print_table(f"{title}: mean regret by family", ("strategy", *_list_families(known)), _make_family_rows(last, known))
    for line in describe_wins(trials, last, whole):
        print(line)
    print()
    if asked.figures:
        _write_figures(kind, trials, seconds, found, asked.figures)


def _describe_size(rows: pd.DataFrame, trials: int) -> str:
    seeds = rows.groupby("strategy")["seed"].nunique()
    return f"{rows['problem'].nunique()} problems, {trials} trials, {seeds.min()} to {seeds.max()} seeds"


def _make_head(trials: int) -> tuple[str, ...]:
    return (
        "strategy", "problems", "seeds", *(f"regret at {n}" for n in _choose_marks(trials)),
        "at 10 % of random's seconds",
        "at 100 %", "mean rank", "proposing, ms a trial",
    )  # fmt: skip


def _choose_marks(trials: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, trials // 6), max(1, trials // 2), trials}))


def _make_rows(
    rows: pd.DataFrame, trials: pd.DataFrame, seconds: pd.DataFrame, found: ranks.MeanRanks | None
) -> Iterator[tuple[str, ...]]:
    """A row for each strategy, the least regret first."""
    marks = _choose_marks(int(trials.columns[-1]))
    means, taken = _compute_means(trials), _compute_means(seconds)
    tenth = min(seconds.columns, key=lambda share: abs(share - 0.1))
    for name in means.iloc[:, -1].sort_values().index:
        mine = rows[rows["strategy"] == name]
        yield (
            str(name), str(mine["problem"].nunique()), str(mine["seed"].nunique()),
            *(f"{means.loc[name, n]:.3f}" for n in marks),
            f"{taken.loc[name, tenth]:.3f}", f"{taken.loc[name].iloc[-1]:.3f}",
            f"{found.mean[name]:.1f}" if found and name in found.mean else "", f"{1000 * mine['asking'].mean():.0f}",
        )  # fmt: skip


def _compute_means(curves: pd.DataFrame) -> pd.DataFrame:
    """Each strategy's mean over problems of its mean over seeds."""
    return curves.groupby(["strategy", "problem"]).mean().groupby("strategy").mean()


def _list_families(known: Mapping[str, Surrogate]) -> list[str]:
    return sorted({one.family.name for one in known.values()})


def _make_family_rows(last: pd.DataFrame, known: Mapping[str, Surrogate]) -> Iterator[tuple[str, ...]]:
    family = pd.Series({name: one.family.name for name, one in known.items()})
    means = last.groupby(family.reindex(last.index)).mean().T
    for name in means.mean(axis=1).sort_values().index:
        cells = (means.loc[name].get(f) for f in _list_families(known))
        yield (str(name), *("" if cell is None or pd.isna(cell) else f"{cell:.3f}" for cell in cells))


def _hands_over(name: Any) -> bool:
    """Whether it leaves the search to another, with which it would share its rank."""
    return name in load_strategies() and load_strategies()[name].chooses is not None


def describe_wins(trials: pd.DataFrame, last: pd.DataFrame, whole: list[Any]) -> Iterator[str]:
    """Which strategies beat random search and which do not, and on what; over all problems those that ran on all."""
    final = trials.iloc[:, -1].unstack("problem")
    p = ranks.compare_with_one(last[whole], RANDOM) if RANDOM in whole and len(last) > 4 else {}
    for name in last.mean().sort_values().index if RANDOM in last else ():
        if name == RANDOM:
            continue
        on = ranks.compare_by_seeds(final.loc[[name]].dropna(axis=1, how="all"), final.loc[[RANDOM]])
        count = int(last[[name, RANDOM]].notna().all(axis=1).sum())
        told = {said: sorted(k for k, v in on.items() if v == said) for said in ("better", "worse")}
        verdict = "beats" if p.get(name, 1.0) < ranks.LEVEL else "does not beat"
        over_all = f" ({verdict} random over all problems, p = {p[name]:.2g})" if name in p else ""
        yield (
            f"- `{name}`{over_all}: better than random on {len(told['better'])}{_format_problems(told['better'])}, "
            "worse on "
            f"{len(told['worse'])}{_format_problems(told['worse'])}, no difference on {count - len(on)} of {count} "
            "problems."
        )


def _format_problems(problems: list[str]) -> str:
    return f" ({', '.join(problems)})" if problems else ""


def _write_figures(
    kind: str, trials: pd.DataFrame, seconds: pd.DataFrame, found: ranks.MeanRanks | None, folder: Path
) -> None:
    """Writes the curves, and of the race the ranks."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "nestor", "font.size": 9}
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for curves, axes, label in (
        (trials, panels[0], "trials beside the default"),
        (seconds, panels[1], "seconds, as a share of random's"),
    ):
        _draw_curves(_compute_means(curves), axes, label)
    panels[0].set_ylabel("mean normalised regret")
    panels[1].set_xscale("log")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _save_figure(figure, folder / f"search-{kind}.svg")
    if found and kind == "race":
        figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.25 * len(found.mean)), layout="constrained")
        ranks.draw_diagram(found, axes)
        _save_figure(figure, folder / "search-ranks.svg")


def _draw_curves(means: pd.DataFrame, axes: Any, label: str) -> None:
    from matplotlib import colormaps

    for number, name in enumerate(sorted(n for n in means.index if not _hands_over(n))):
        plain = name == RANDOM
        axes.plot(
            means.columns, means.loc[name], label=name, linewidth=2.2 if plain else 1.3,
            color="black" if plain else colormaps["tab20"](number % 20), linestyle="--" if plain else "-",
        )  # fmt: skip
    axes.set_xlabel(label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)


def _save_figure(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
