"""A new table against the one that a champion was trained on: what is missing, more, renamed, of another type or new.

The violations are those that users know from Amazon SageMaker's Model Monitor (missing_column_check,
extra_column_check, data_type_check, completeness_check) and Deepchecks (category mismatch, new labels); that a column
was renamed is told besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from models.data.table import Finding
from models.monitoring.schema import contents, names
from models.monitoring.schema.values import ChampionSchema, ObservedTable, count_labels, normalise_label

__all__ = ["ChampionSchema", "Columns", "ObservedTable", "compare_schemas", "count_labels", "normalise_label"]

Columns = Literal["stop", "adapt"]


def compare_schemas(champion: ChampionSchema, table: ObservedTable, columns: Columns = "stop") -> tuple[Finding, ...]:
    """What differs, a finding for each check; one `schema` that passes where nothing does. Missing and retyped columns
    stop, or with `adapt` warn; a target that is missing or of another type stops always."""
    verdict = "stop" if columns == "stop" else "warn"
    pairs = names.match_renamed_columns(champion, table)
    looks: list[Iterator[Finding]] = [
        names.check_target(champion, table),
        names.find_missing_columns(champion, table, pairs, verdict),
        names.find_renamed_columns(pairs, verdict),
        names.find_extra_columns(champion, table, pairs),
        contents.find_retyped_columns(champion, table, verdict),
        contents.find_emptied_columns(champion, table),
        contents.find_new_levels(champion, table, verdict),
        contents.find_out_of_range(champion, table),
        contents.find_class_changes(champion, table),
    ]
    findings = tuple(finding for look in looks for finding in look)
    return findings or (
        Finding("schema", "pass", f"All {len(champion.used)} columns are there, as the champion knows them."),
    )
