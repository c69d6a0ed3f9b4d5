"""Tables and figures of the race and of the real runs: `python -m benchmarks.search.report --folder OUT [--trials 60]
[--figures docs] [--data DATA]`. Prints markdown; writes search-race.svg, search-ranks.svg and search-real.svg."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.search import ranks
from benchmarks.search.race import raced
from benchmarks.search.regret import marked, over_seconds, over_trials, scales
from benchmarks.search.surrogate import DATA, HEAD, Surrogate, quality, surrogate
from benchmarks.stamp import printed
from models.search import load_strategies

RANDOM = "random"


def main() -> None:
    """Prints what there is: surrogates, race, real runs."""
    asked = _asked()
    known = {path.stem: surrogate(path) for path in sorted(asked.data.glob("*.parquet"))}
    printed("Surrogates", HEAD, [quality(one) for one in known.values()])
    for kind, title in (("race", "Strategies against surrogates"), ("real", "Real fits, and what the field uses")):
        files = sorted((asked.folder / kind).glob("*.parquet"))
        rows = pd.concat([pd.read_parquet(f) for f in files]) if files else pd.DataFrame()
        if len(rows):
            _told(title, kind, rows[rows["problem"].isin(known)], known, asked)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--figures", type=Path, default=None, help="a folder for the figures")
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


def _told(title: str, kind: str, rows: pd.DataFrame, known: Mapping[str, Surrogate], asked: argparse.Namespace) -> None:
    """Prints the tables of one kind of runs and writes their figures."""
    rows = marked(rows, list(raced()))
    scale = scales(rows, known, real=kind == "real")
    trials, seconds = over_trials(rows, scale, asked.trials), over_seconds(rows, scale)
    last = trials.iloc[:, -1].groupby(["strategy", "problem"]).mean().unstack("strategy")
    whole = [name for name in last if last[name].notna().all() and not _hands_over(name)]
    found = ranks.ranks(last[whole]) if min(last[whole].shape) > 2 else None
    printed(f"{title}: {_size(rows, asked.trials)}", _head(asked.trials), _rows(rows, trials, seconds, found))
    if found:
        print(f"Friedman's p that all are alike: {found.friedman:.2g}; mean ranks that differ by more than "
              f"{found.difference:.2f} differ (Nemenyi, 0.05, {found.problems} problems).\n")  # fmt: skip
    printed(f"{title}: mean regret by family", ("strategy", *_families(known)), _by_family(last, known))
    for line in plainly(trials, last, whole):
        print(line)
    print()
    if asked.figures:
        _figures(kind, trials, seconds, found, asked.figures)


def _size(rows: pd.DataFrame, trials: int) -> str:
    seeds = rows.groupby("strategy")["seed"].nunique()
    return f"{rows['problem'].nunique()} problems, {trials} trials, {seeds.min()} to {seeds.max()} seeds"


def _head(trials: int) -> tuple[str, ...]:
    return (
        "strategy", "problems", "seeds", *(f"regret at {n}" for n in _marks(trials)), "at 10 % of random's seconds",
        "at 100 %", "mean rank", "proposing, ms a trial",
    )  # fmt: skip


def _marks(trials: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, trials // 6), max(1, trials // 2), trials}))


def _rows(
    rows: pd.DataFrame, trials: pd.DataFrame, seconds: pd.DataFrame, found: ranks.Ranks | None
) -> Iterator[tuple[str, ...]]:
    """A row for each strategy, the least regret first."""
    marks = _marks(int(trials.columns[-1]))
    means, taken = _means(trials), _means(seconds)
    tenth = min(seconds.columns, key=lambda share: abs(share - 0.1))
    for name in means.iloc[:, -1].sort_values().index:
        mine = rows[rows["strategy"] == name]
        yield (
            str(name), str(mine["problem"].nunique()), str(mine["seed"].nunique()),
            *(f"{means.loc[name, n]:.3f}" for n in marks),
            f"{taken.loc[name, tenth]:.3f}", f"{taken.loc[name].iloc[-1]:.3f}",
            f"{found.mean[name]:.1f}" if found and name in found.mean else "", f"{1000 * mine['asking'].mean():.0f}",
        )  # fmt: skip


def _means(curves: pd.DataFrame) -> pd.DataFrame:
    """Each strategy's mean over problems of its mean over seeds."""
    return curves.groupby(["strategy", "problem"]).mean().groupby("strategy").mean()


def _families(known: Mapping[str, Surrogate]) -> list[str]:
    return sorted({one.family.name for one in known.values()})


def _by_family(last: pd.DataFrame, known: Mapping[str, Surrogate]) -> Iterator[tuple[str, ...]]:
    family = pd.Series({name: one.family.name for name, one in known.items()})
    means = last.groupby(family.reindex(last.index)).mean().T
    for name in means.mean(axis=1).sort_values().index:
        cells = (means.loc[name].get(f) for f in _families(known))
        yield (str(name), *("" if cell is None or pd.isna(cell) else f"{cell:.3f}" for cell in cells))


def _hands_over(name: Any) -> bool:
    """Whether it leaves the search to another, with which it would share its rank."""
    return name in load_strategies() and load_strategies()[name].chooses is not None


def plainly(trials: pd.DataFrame, last: pd.DataFrame, whole: list[Any]) -> Iterator[str]:
    """Which strategies beat random search and which do not, and on what; over all problems those that ran on all."""
    final = trials.iloc[:, -1].unstack("problem")
    p = ranks.better(last[whole], RANDOM) if RANDOM in whole and len(last) > 4 else {}
    for name in last.mean().sort_values().index if RANDOM in last else ():
        if name == RANDOM:
            continue
        on = ranks.by_seeds(final.loc[[name]].dropna(axis=1, how="all"), final.loc[[RANDOM]])
        count = int(last[[name, RANDOM]].notna().all(axis=1).sum())
        told = {said: sorted(k for k, v in on.items() if v == said) for said in ("better", "worse")}
        verdict = "beats" if p.get(name, 1.0) < ranks.LEVEL else "does not beat"
        over_all = f" ({verdict} random over all problems, p = {p[name]:.2g})" if name in p else ""
        yield (
            f"- `{name}`{over_all}: better than random on {len(told['better'])}{_names(told['better'])}, worse on "
            f"{len(told['worse'])}{_names(told['worse'])}, no difference on {count - len(on)} of {count} problems."
        )


def _names(problems: list[str]) -> str:
    return f" ({', '.join(problems)})" if problems else ""


def _figures(kind: str, trials: pd.DataFrame, seconds: pd.DataFrame, found: ranks.Ranks | None, folder: Path) -> None:
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
        _curves(_means(curves), axes, label)
    panels[0].set_ylabel("mean normalised regret")
    panels[1].set_xscale("log")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _saved(figure, folder / f"search-{kind}.svg")
    if found and kind == "race":
        figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.25 * len(found.mean)), layout="constrained")
        ranks.draw(found, axes)
        _saved(figure, folder / "search-ranks.svg")


def _curves(means: pd.DataFrame, axes: Any, label: str) -> None:
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


def _saved(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
