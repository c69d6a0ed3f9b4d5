"""A narrower space in words: yaml for a config file, the same as options, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.analysis.importance import Importance
    from models.analysis.narrowing import NarrowedRange
    from tasks.reporting.suggest import LearnedSpace, Suggestion


def as_yaml(found: Suggestion) -> str:
    """Lines that a config file takes as they are; whatever else there is to say are comments."""
    return "\n".join(
        [
            *_make_head_lines(found),
            *_make_family_lines(found),
            *_make_option_lines(found),
            *_make_other_lines(found),
            *_make_last_lines(found),
        ]
    )


def _make_head_lines(found: Suggestion) -> Iterator[str]:
    runs = len(found.runs)
    trials = sum(one.importance.trials for one in found.families.values())
    yield f"# Learned from {trials:,} trials of {runs} run{'s' * (runs != 1)} of {found.name} ({found.metric})."
    for why, count in found.left_out.items():
        yield f"# {count} more run{'s' * (count != 1)} {why}."
    yield "# After each: fANOVA's share with its 95 % interval."


def _make_family_lines(found: Suggestion) -> Iterator[str]:
    narrow = {family: one for family, one in found.families.items() if one.space}
    yield "families:" if narrow else "# There is nothing to narrow: the best trials lie all over the ranges."
    for family, one in narrow.items():
        yield f"  {family}:  # {_describe_importance(one.importance)}"
        yield "    space:"
        lines = [f"{said.name}: {_format_value(said.range)}" for said in one.space]
        width = max(map(len, lines))
        for line, said in zip(lines, one.space, strict=True):
            yield f"      {line:{width}}  # {_format_share(one, said)}: {said.why}"


def _describe_importance(mattered: Importance) -> str:
    trials = f"{mattered.trials:,} trials in {mattered.studies} studies"
    return f"{trials}; {100 * mattered.explained:.0f} % of the variance explained"


def _format_share(one: LearnedSpace, said: NarrowedRange) -> str:
    whole = next((h.whole for h in one.importance.hyperparameters if h.name == said.name), None)
    return f"{whole.value:.2f} ({whole.low:.2f} to {whole.high:.2f})" if whole else "in too few trials"


def _format_value(said: Any) -> str:
    """A range or a fixed value as yaml."""
    return f"[{', '.join(map(_format_scalar, said))}]" if isinstance(said, (list, tuple)) else _format_scalar(said)


def _format_scalar(value: Any) -> str:
    """A number, a word or a truth as yaml reads it back: `1e-05` would be text there."""
    if isinstance(value, str):
        return value if value.isidentifier() and value.lower() not in _TAKEN else json.dumps(value)
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


_TAKEN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _make_option_lines(found: Suggestion) -> Iterator[str]:
    said = [_format_option(family, one) for family, all_ in found.families.items() for one in all_.space]
    if said:
        yield "# The same as options:"
        yield f"#   {' '.join(said)}"


def _format_option(family: str, said: NarrowedRange) -> str:
    values = said.range if isinstance(said.range, (list, tuple)) else [said.range]
    return f"--space {quote(f'{family}.{said.name}=' + ','.join(_format_word(v) for v in values))}"


def _format_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _make_other_lines(found: Suggestion) -> Iterator[str]:
    from models.analysis.narrowing import FEWEST

    for family, one in found.families.items():
        if not one.space:
            few = one.importance.trials < FEWEST
            why = f"{one.importance.trials} trials, and {FEWEST} are needed" if few else "nothing to narrow"
            yield f"# {family} stays as it is: {why}."


def _make_last_lines(found: Suggestion) -> Iterator[str]:
    """What a run in this space can't say of itself: for all it knows the space came from elsewhere."""
    if any(one.space for one in found.families.values()):
        yield "# The space was learned from rows that will judge again, as in a warm start; a run in it can't say so:"
        yield "# on the same rows its estimate may look too good: rely on the test score."


def as_values(found: Suggestion) -> dict[str, Any]:
    """The same for JSON, with every hyperparameter's importance."""
    families = {
        family: {**asdict(one.importance), "space": {said.name: said.range for said in one.space}}
        for family, one in found.families.items()
    }
    facts = {"name": found.name, "runs": found.runs, "metric": found.metric, "left_out": found.left_out}
    return {**facts, "families": families}
