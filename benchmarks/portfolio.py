"""Learns `models/tuning/portfolio.json`, which configurations to try first, from tables on which every family's same
configurations were fitted (`benchmarks.search.collect --same`), and judges it leave-one-table-out:
`python -m benchmarks.portfolio DATA [--write] [--onto LARGE]`.

A regret of 0 is a table's best configuration, 1 the median of its random ones. Judged on a table, the portfolio knows
nothing of it; beside it stand the default alone, and as many random configurations (their expected least regret).

LARGE is such a folder of more rows of some of these tables: what is learned on few rows is judged on many, what the
other tables have taught and what few rows of the same table have."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.search.collect import read_problem_file
from benchmarks.stamp import make_stamp, print_table
from models.errors import InputError
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.tuning.portfolio import FILE, LearnedConfiguration, order_greedily, weigh_table

KEPT = 12
"""Configurations of a family that the file keeps beside its default."""
FIRST = (1, 2, 4, 8)
"""After so many configurations beside the default it is judged."""

Matrix = Mapping[str, Sequence[LearnedConfiguration]]
"""Family -> its configurations, the default first."""


def main() -> None:
    """Prints how good portfolios are on tables that they do not know; with --write makes the file from all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of parquet files, one for each family and table")
    parser.add_argument("--write", action="store_true", help="write models/tuning/portfolio.json")
    parser.add_argument("--onto", type=Path, help="as DATA, of more rows: learned on DATA, judged here")
    asked = parser.parse_args()
    tables, matrix = _read_regrets(asked.data)
    rows = [row for name in matrix for row in _judge_family(name, matrix[name], tables)]
    print_table(
        "Portfolios on tables that they do not know",
        ("family", "configurations", "portfolio", "random", "default"),
        rows,
    )
    if asked.onto:
        _print_transfer(*_read_regrets(asked.onto), tables, matrix)
    if asked.write:
        _write_portfolio(tables, {name: choose_configurations(found) for name, found in matrix.items()})


def _read_regrets(folder: Path) -> tuple[dict[str, dict[str, Any]], Matrix]:
    """Tables by name, and each family's configurations with their regret on every table; those that some table lacks
    are left out. InputError where a number is not the same configuration on all tables."""
    tables: dict[str, dict[str, Any]] = {}
    regrets: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    params: dict[str, dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for file in sorted(folder.glob("*.parquet")):
        told = json.loads(pq.read_schema(file).metadata[b"problem"])
        family, table, lines = told["family"], told["table"], read_problem_file(file)
        tables[table] = {k: told["shape"][k] for k in ("rows", "columns", "task", "classes")}
        metric = make_metric(told["metric"], told["shape"]["task"], tuple(range(told["classes"])))
        gains = np.array([metric.gain(float(np.mean(line["scores"]))) for line in lines])
        spread = gains.max() - np.median(gains)
        for line, gain in zip(lines, gains, strict=True):
            regrets[family][line["number"]][table] = float(min(3.0, (gains.max() - gain) / (spread or 1.0)))
            known = params[family][line["number"]]
            if other := next((n for n, value in line["params"].items() if known.get(n, value) != value), None):
                raise InputError(
                    f"Configuration {line['number']} of {family} has {other} {known[other]} on one table and on "
                    f"{table} {line['params'][other]}: collect again with --same."
                )
            known |= line["params"]
    whole = {f: {n: r for n, r in by.items() if len(r) == len(tables)} for f, by in regrets.items()}
    return tables, {
        f: [LearnedConfiguration(params[f][n], r) for n, r in sorted(by.items())] for f, by in whole.items() if by
    }


def choose_configurations(found: Sequence[LearnedConfiguration]) -> list[LearnedConfiguration]:
    """The default, and the configurations that a greedy choice over all tables takes."""
    return [found[0], *order_greedily(found, dict.fromkeys(found[0].regret, 1.0), KEPT)]


def _judge_family(
    family: str, found: Sequence[LearnedConfiguration], tables: Mapping[str, dict[str, Any]]
) -> list[tuple[str, ...]]:
    """A row for each count of configurations: mean least regret, over tables that were left out one at a time."""
    sums = {count: [0.0, 0.0] for count in FIRST}
    for table, shape in tables.items():
        others = {t: weigh_table(Shape(**shape), s) for t, s in tables.items() if t != table}
        known = [LearnedConfiguration(c.params, {t: c.regret[t] for t in others}) for c in found]
        order = [
            next(c for c in found if c.params == one.params)
            for one in order_greedily(choose_configurations(known), others, max(FIRST))
        ]
        default, rest = found[0].regret[table], sorted(c.regret[table] for c in found[1:])
        for count in FIRST:
            sums[count][0] += min(default, *(c.regret[table] for c in order[:count]))
            sums[count][1] += _compute_expected_regret(default, rest, count)
    default = np.mean([found[0].regret[t] for t in tables])
    shown = [(count, *(value / len(tables) for value in both)) for count, both in sums.items()]
    return [(family, str(count), f"{mine:.3f}", f"{random:.3f}", f"{default:.3f}") for count, mine, random in shown]


def _print_transfer(large: Mapping[str, dict[str, Any]], many: Matrix, tables: Mapping[str, Any], few: Matrix) -> None:
    """Prints how good the choices of few rows are on many."""
    rows = [row for name in many for row in _judge_transfer(name, many[name], large, few[name], tables)]
    head = ("family", "configurations", "portfolio of other tables", "few rows of the same", "random", "default")
    size = f"{min(t['rows'] for t in large.values()):,} to {max(t['rows'] for t in large.values()):,} training rows"
    print_table(f"Learned on few rows, judged on {', '.join(large)} with {size}", head, rows)


def _judge_transfer(
    family: str, many: Sequence[LearnedConfiguration], large: Mapping[str, dict[str, Any]], few:
    Sequence[LearnedConfiguration], tables: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[str, ...]]:  # fmt: skip
    """A row for each count of configurations: mean least regret on the large tables. The same number is the same
    configuration on both."""
    for count in FIRST:
        found = []
        for table, shape in large.items():
            regret = [c.regret[table] for c in many]
            place = {id(c): n for n, c in enumerate(few[: len(many)])}
            weights = {t: weigh_table(Shape(**shape), s) for t, s in tables.items() if t != table}
            others = order_greedily(few[: len(many)], weights, count)
            own = sorted(few[1 : len(many)], key=lambda c, table=table: c.regret[table])[:count]
            tried = [min(regret[0], *(regret[place[id(c)]] for c in one)) for one in (others, own)]
            found.append((*tried, _compute_expected_regret(regret[0], sorted(regret[1:]), count), regret[0]))
        yield (family, str(count), *(f"{mean:.3f}" for mean in np.mean(found, axis=0)))


def _compute_expected_regret(default: float, rest: Sequence[float], count: int) -> float:
    """The expected least regret of the default and so many of the rest, drawn without replacement."""
    total, left, n = 0.0, 1.0, len(rest)
    for place, regret in enumerate(rest):
        if left <= 0 or n - place <= 0:
            break
        first = min(1.0, count / (n - place)) * left
        total, left = total + first * min(default, regret), left - first
    return total + left * default


def _write_portfolio(tables: Mapping[str, Any], families: Matrix) -> None:
    """The file: a line for each table and each configuration, numbers no longer than what they are good for."""
    told = json.dumps(f"python -m benchmarks.portfolio, {make_stamp()}")
    shapes = ",\n".join(f"  {json.dumps(name)}: {json.dumps(shape)}" for name, shape in tables.items())
    lists = ",\n".join(
        f"  {json.dumps(name)}: [\n"
        + ",\n".join(f"   {json.dumps(_round_configuration(one))}" for one in found)
        + "\n  ]"
        for name, found in sorted(families.items())
    )
    place = Path(__file__).parent.parent / "models" / "tuning" / FILE
    text = f'{{\n "made": {told},\n "tables": {{\n{shapes}\n }},\n "families": {{\n{lists}\n }}\n}}\n'
    place.write_text(text, encoding="utf-8")


def _round_configuration(one: LearnedConfiguration) -> dict[str, Any]:
    params = {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in one.params.items()}
    return {"params": params, "regret": {table: round(regret, 2) for table, regret in one.regret.items()}}


if __name__ == "__main__":
    main()
