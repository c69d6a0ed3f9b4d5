"""Notes that a run ends with."""

from __future__ import annotations

from models.evaluation.verdict import format_score
from models.families import load_families
from tasks.context import RunContext
from tasks.evaluation.evaluate import Evaluation


def describe_forecasts(evaluation: Evaluation) -> str:
    """What must be known of a model that forecasts, and whether it is better than the references."""
    history = evaluation.table.history
    assert history is not None
    sentence = (
        f"To forecast a row, this model needs earlier rows too: those whose {history.target!r} was known "
        f"{history.horizon[0]} before it."
    )
    references = [f for f in evaluation.families if not load_families()[f.name].tunable and f.estimate is not None]
    if evaluation.estimate is None or not references:
        return sentence
    gain = evaluation.metric.gain
    best = max(references, key=lambda f: gain(f.estimate.value))  # pyright: ignore[reportOptionalMemberAccess]
    assert best.estimate is not None
    verb = "beats" if gain(evaluation.estimate.value) > gain(best.estimate.value) else "does NOT beat"
    score = f"{evaluation.metric.name} {format_score(evaluation.estimate.value)}"
    return (
        f"{sentence} With {score} it {verb} the reference {best.name}, which has {format_score(best.estimate.value)}."
    )


def note_unused_time(context: RunContext) -> None:
    """Says why, where less than nine tenths of the time was used."""
    limit, seconds = context.ledger.limit, context.ledger.elapsed
    if limit is not None and seconds < 0.9 * limit:
        reserve = context.ledger.registration
        context.note(
            f"{limit - seconds:.0f} of {limit:.0f} s were left over: the end took less time than was kept for it "
            f"({reserve:.0f} s to register), or there was nothing left to try."
        )
