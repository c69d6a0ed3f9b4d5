"""What is each column taken for?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from models.data.table import Finding, Table
from models.errors import join_names

PASSED = "There are no columns."


def form(table: Table) -> Iterator[Finding]:
    """The kinds that were inferred or asked for, with the columns of each."""
    kinds = {c: k for c, k in table.reading.kinds.items() if k != "drop"}
    parts = [
        f"{kind}: {join_names((c for c, k in kinds.items() if k == kind), 5, 24)}"
        for kind, _ in Counter(kinds.values()).most_common()
    ]
    if parts:
        sentence = f"How columns were read: {'; '.join(parts)}. To choose otherwise give --type COLUMN=KIND."
        yield Finding("column_kinds", "pass", sentence)
