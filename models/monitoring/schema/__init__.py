"""A new table against the one that a champion was trained on: what is missing, more, renamed, of another type or new.

The violations are those that users know from Amazon SageMaker's Model Monitor (missing_column_check,
extra_column_check, data_type_check, completeness_check) and Deepchecks (category mismatch, new labels); that a column
was renamed is told besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from models.data.table import Finding
from models.monitoring.schema import contents, names
from models.monitoring.schema.values import Known, Seen, label, labels

__all__ = ["Columns", "Known", "Seen", "compared", "label", "labels"]

Columns = Literal["stop", "adapt"]


def compared(known: Known, seen: Seen, columns: Columns = "stop") -> tuple[Finding, ...]:
    """What differs, a finding for each check; one `schema` that passes where nothing does. Missing and retyped columns
    stop, or with `adapt` warn; a target that is missing or of another type stops always."""
    verdict = "stop" if columns == "stop" else "warn"
    pairs = names.renamed(known, seen)
    looks: list[Iterator[Finding]] = [
        names.target_there(known, seen),
        names.missing(known, seen, pairs, verdict),
        names.paired(pairs, verdict),
        names.extra(known, seen, pairs),
        contents.retyped(known, seen, verdict),
        contents.empty(known, seen),
        contents.new_levels(known, seen, verdict),
        contents.out_of_range(known, seen),
        contents.classes(known, seen),
    ]
    found = tuple(finding for look in looks for finding in look)
    return found or (
        Finding("schema", "pass", f"All {len(known.used)} columns are there, as the champion knows them."),
    )
