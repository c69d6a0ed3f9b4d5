"""The result in words: what to expect, how it agrees with the sealed rows, and what else must be known."""

from __future__ import annotations

from models.families import families
from models.outcome import Interval
from tasks.conclude import Concluded
from tasks.session import Session


def sentence(session: Session, concluded: Concluded, beside: str = "") -> str:
    """The result in words."""
    if concluded.estimate is None:
        return f"{concluded.winner} is delivered; not every fold could be judged, so there is no estimate."
    text = (
        f"Expect {session.metric.name} {_between(concluded.estimate)} on new rows "
        f"({concluded.winner} is {'picked' if session.goal.several else 'the best single family'})."
    )
    text += beside
    if concluded.test is not None:
        text += f" The sealed test set, opened once, says {_between(concluded.test)}."
    if session.warm is not None:
        text += " After a warm start the estimate may flatter"
        text += ": the number to publish is the test score." if concluded.test is not None else "."
    if concluded.agreement is not None:
        text += f" {_agreement(session, concluded.agreement)} (z = {concluded.agreement:+.1f})."
    if not concluded.beats_constant:
        text += " It is no better than a constant prediction: no alias is set."
    return text


def _agreement(session: Session, z: float) -> str:
    if abs(z) < 2:
        return "The two agree"
    if session.run.split.time is not None:
        return f"The newest rows are {'harder' if z > 0 else 'easier'} than the older ones: the table drifts"
    return "The two DISAGREE: be careful with either"


def _between(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return _shown(interval.value)
    return f"{_shown(interval.value)} ({_shown(interval.low)} to {_shown(interval.high)})"


def _shown(value: float) -> str:
    """Four significant digits, or whole numbers where they are large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def of_forecasts(session: Session, concluded: Concluded) -> str:
    """What must be known of a model that forecasts, and whether it is better than the references."""
    history = session.table.history
    assert history is not None
    said = (
        f"This model is no function of one row: it needs the rows with a known {history.target!r} from before "
        f"{history.horizon[0]} ago."
    )
    marks = [f for f in concluded.families if not families()[f.name].tunable and f.estimate is not None]
    if concluded.estimate is None or not marks:
        return said
    gain = session.metric.gain
    best = max(marks, key=lambda f: gain(f.estimate.value))  # pyright: ignore[reportOptionalMemberAccess]
    assert best.estimate is not None
    verb = "beats" if gain(concluded.estimate.value) > gain(best.estimate.value) else "does NOT beat"
    own = f"{session.metric.name} {_shown(concluded.estimate.value)}"
    return f"{said} With {own} it {verb} the reference {best.name}, which has {_shown(best.estimate.value)}."


def unused(session: Session) -> None:
    """Says why, where less than nine tenths of the time was used."""
    limit, used = session.ledger.limit, session.ledger.elapsed
    if limit is not None and used < 0.9 * limit:
        kept = session.ledger.registration
        session.note(
            f"{limit - used:.0f} of {limit:.0f} s were not used: the end took less than was kept for it "
            f"({kept:.0f} s to register), or every study had all the configurations it may have."
        )
