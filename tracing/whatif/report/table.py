"""The answer as a table for a terminal."""

from __future__ import annotations

from rich.console import Console

from probes.console import show_text, table
from tracing.whatif.answer import WhatIfAnswer
from tracing.whatif.openanswer import OpenAnswer
from tracing.whatif.report import rows


def show(out: Console, answer: WhatIfAnswer | OpenAnswer) -> None:
    """Print the answer: its first line, then a row a stage."""
    show_text(out, answer.first_line(), "bold")
    table(out, rows.heading(answer), rows.columns(answer), rows.rows(answer))
    for text in rows.notes(answer):
        show_text(out, text)
