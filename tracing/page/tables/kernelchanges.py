"""The kernels of two traces side by side, on a terminal."""

from __future__ import annotations

from rich.console import Console

from tracing.breakdown.changes import StageChange
from tracing.breakdown.kernels.work import NO_STEP
from tracing.page.tables import changes as tables
from tracing.page.tables.changes import ChangeWords

CHANGES = ChangeWords(
    sentence=lambda kind: f"{'All kernels' if kind == NO_STEP else f'The kernels of a {kind} step'} take",
    title=lambda kind: f"kernels by family: {kind}",
    rows="family",
    intervals="Each replicate is one of up to eight blocks of a trace's steps: the intervals say nothing of other "
    "starts.",
    nothing="The traces have no kind of step in common in which a device worked: nothing can be compared.",
)


def show_changes(changes: dict[str, list[StageChange]], out: Console) -> None:
    """What changed in each kind of step from one trace to the next."""
    tables.show(changes, CHANGES, out)
