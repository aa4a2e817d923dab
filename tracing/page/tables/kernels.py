"""The kernels of a trace as tables on a terminal: families, communication and pace, and two traces side by side."""

from __future__ import annotations

from rich.console import Console

from probes.console import percent, table, us
from tracing.breakdown.changes import StageChange
from tracing.breakdown.kernels.summary import FamilyTime, KernelSummary, KindOfWork
from tracing.breakdown.kernels.work import NO_STEP
from tracing.page.tables import changes as tables
from tracing.page.tables.changes import ChangeWords

FAMILY_COLUMNS = ["step", "family", "kernels", "their time", "share"]
PACE_COLUMNS = ["step", "steps", "launch-bound", "kernel-bound", "unknown", "paced by launches"]
COMMUNICATION_COLUMNS = ["step", "communication", "exposed", "hidden", "exposed share"]
COMPARED = ChangeWords(
    sentence=lambda kind: f"{'All kernels' if kind == NO_STEP else f'The kernels of a {kind} step'} take",
    title=lambda kind: f"kernels by family: {kind}",
    rows="family",
    intervals="Each replicate is one of up to eight blocks of a trace's steps: the intervals say nothing of other "
    "starts.",
    nothing="The traces have no kind of step in common in which a device worked: nothing can be compared.",
)


def show(kernels: KernelSummary, out: Console) -> None:
    """Where the devices' time went, by kind of step; nothing where no device did anything."""
    if not kernels.families:
        return
    rows = [_family(row) for row in kernels.families]
    table(out, "kernels by family (means a step on each device; of no step: sums)", FAMILY_COLUMNS, rows, (1,))
    if steps := [_pace(row) for row in kernels.kinds if row.steps]:
        table(out, "what sets the pace of a step on its device", PACE_COLUMNS, steps)
    communicating = [row for row in kernels.kinds if row.communication_ns != 0]
    if communicating:
        rows = [_communication(row) for row in communicating]
        table(out, "communication that no other kernel hides (the same means and sums)", COMMUNICATION_COLUMNS, rows)


def show_changes(changes: dict[str, list[StageChange]], out: Console) -> None:
    """What changed in each kind of step from one trace to the next."""
    tables.show(changes, COMPARED, out)


def _family(row: FamilyTime) -> list[object]:
    return [row.kind, row.family, f"{row.kernels:,.1f}".removesuffix(".0"), us(row.ns), percent(row.share)]


def _pace(row: KindOfWork) -> list[object]:
    unknown = row.steps - row.launch_bound - row.kernel_bound
    share = "n/a" if row.launch_share is None else percent(row.launch_share)
    return [row.kind, row.steps, row.launch_bound, row.kernel_bound, unknown, share]


def _communication(row: KindOfWork) -> list[object]:
    if row.communication_ns is None or row.exposed_ns is None:
        return [row.kind, *["n/a"] * 4]
    share = percent(row.exposed_ns / row.communication_ns)
    return [row.kind, us(row.communication_ns), us(row.exposed_ns), us(row.hidden_ns), share]
