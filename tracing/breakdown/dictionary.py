"""`columns.md` of a trace folder: what each column of its samples and each key of its review holds."""

from __future__ import annotations

from probes.columns import sections
from tracing.breakdown.review import FILE, Review
from tracing.events.contention import ABOUT, ContentionSample

RECORDS = {f"{FILE}: where the time went": Review, ABOUT: ContentionSample}


def column_dictionary() -> str:
    """The dictionary as Markdown."""
    return f"# Columns\n\n{sections(RECORDS)}\n"
