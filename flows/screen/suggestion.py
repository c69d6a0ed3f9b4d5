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


def as_yaml(suggestion: Suggestion) -> str:
    """Lines that a config file takes as they are; whatever else there is to say are comments."""
    return "\n".join(
        [
            *_make_head_lines(suggestion),
            *_make_family_lines(suggestion),
            *_make_option_lines(suggestion),
            *_make_other_lines(suggestion),
            *_make_last_lines(suggestion),
        ]
    )


def _make_head_lines(suggestion: Suggestion) -> Iterator[str]:
    runs = len(suggestion.runs)
    trials = sum(space.importance.trials for space in suggestion.families.values())
    yield (
        f"# Learned from {trials:,} trials of {runs} run{'s' * (runs != 1)} of {suggestion.name} ({suggestion.metric})."
    )
    for reason, count in suggestion.left_out.items():
        yield f"# {count} more run{'s' * (count != 1)} {reason}."
    yield "# After each: fANOVA's share with its 95 % interval."


def _make_family_lines(suggestion: Suggestion) -> Iterator[str]:
    spaces = {family: space for family, space in suggestion.families.items() if space.space}
    yield "families:" if spaces else "# There is nothing to narrow: the best trials lie all over the ranges."
    for family, space in spaces.items():
        yield f"  {family}:  # {_describe_importance(space.importance)}"
        yield "    space:"
        lines = [f"{hyperparameter.name}: {_format_value(hyperparameter.range)}" for hyperparameter in space.space]
        width = max(map(len, lines))
        for line, hyperparameter in zip(lines, space.space, strict=True):
            yield f"      {line:{width}}  # {_format_share(space, hyperparameter)}: {hyperparameter.why}"


def _describe_importance(importance: Importance) -> str:
    trials = f"{importance.trials:,} trials in {importance.studies} studies"
    return f"{trials}; {100 * importance.explained:.0f} % of the variance explained"


def _format_share(space: LearnedSpace, hyperparameter: NarrowedRange) -> str:
    share = next((h.whole for h in space.importance.hyperparameters if h.name == hyperparameter.name), None)
    return f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})" if share else "in too few trials"


def _format_value(value: Any) -> str:
    """A range or a fixed value as yaml."""
    return f"[{', '.join(map(_format_scalar, value))}]" if isinstance(value, (list, tuple)) else _format_scalar(value)


def _format_scalar(value: Any) -> str:
    """A number, a word or a truth as yaml reads it back: `1e-05` would be text there."""
    if isinstance(value, str):
        return value if value.isidentifier() and value.lower() not in _TAKEN else json.dumps(value)
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


_TAKEN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _make_option_lines(suggestion: Suggestion) -> Iterator[str]:
    options = [
        _format_option(family, hyperparameter)
        for family, all_ in suggestion.families.items()
        for hyperparameter in all_.space
    ]
    if options:
        yield "# The same as options:"
        yield f"#   {' '.join(options)}"


def _format_option(family: str, hyperparameter: NarrowedRange) -> str:
    values = hyperparameter.range if isinstance(hyperparameter.range, (list, tuple)) else [hyperparameter.range]
    return f"--space {quote(f'{family}.{hyperparameter.name}=' + ','.join(_format_word(v) for v in values))}"


def _format_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _make_other_lines(suggestion: Suggestion) -> Iterator[str]:
    from models.analysis.narrowing import FEWEST

    for family, space in suggestion.families.items():
        if not space.space:
            too_few = space.importance.trials < FEWEST
            reason = f"{space.importance.trials} trials, and {FEWEST} are needed" if too_few else "nothing to narrow"
            yield f"# {family} stays as it is: {reason}."


def _make_last_lines(suggestion: Suggestion) -> Iterator[str]:
    """What a run in this space can't say of itself: for all it knows the space came from elsewhere."""
    if any(space.space for space in suggestion.families.values()):
        yield "# The space was learned from rows that will judge again, as in a warm start; a run in it can't say so:"
        yield "# on the same rows its estimate may look too good: rely on the test score."


def as_values(suggestion: Suggestion) -> dict[str, Any]:
    """The same for JSON, with every hyperparameter's importance."""
    families = {
        family: {
            **asdict(space.importance),
            "space": {hyperparameter.name: hyperparameter.range for hyperparameter in space.space},
        }
        for family, space in suggestion.families.items()
    }
    facts = {
        "name": suggestion.name,
        "runs": suggestion.runs,
        "metric": suggestion.metric,
        "left_out": suggestion.left_out,
    }
    return {**facts, "families": families}
