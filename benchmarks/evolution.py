"""What evolution of architectures saves: seconds of fitting until it has the score that random search has at its end,
on the same space: `python -m benchmarks.evolution TABLE:TARGET ... [--family mlp] [--trials 60] [--seeds 3]`.

What is not architecture is fixed at the default for every search, by `--space`; so they differ in their ways alone.
`halving` stands beside it: it trains shortly too, and evolves nothing."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.fidelity import compare_searches, parse_arguments
from models.families import load_family


def main() -> None:
    """Prints one table, as `benchmarks.fidelity` does."""
    tables, asked = parse_arguments("random,tpe,halving,evolution", "mlp")
    known = load_family(asked.family)
    fixed = [f"{known.name}.{n}={v}" for n, v in known.default.items() if n not in known.architecture]
    more = tuple(part for one in fixed for part in ("--space", one))
    title = f"Until random search's score after {asked.trials} architectures: {asked.family}, {asked.seeds} seeds"
    compare_searches(title, tables, replace(asked, more=more))


if __name__ == "__main__":
    main()
