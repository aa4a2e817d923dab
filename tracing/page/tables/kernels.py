"""The kernels of a trace as tables: families, communication and pace."""

from __future__ import annotations

from html import escape as escape_html

from rich.console import Console

from probes.console import Section, percent, show_section, us
from probes.htmlpage import table_section
from tracing.breakdown.kernels.summary import FamilyTime, KernelSummary, KindOfWork

FAMILY_COLUMNS = ["step", "family", "kernels", "their time", "share"]
PACE_COLUMNS = ["step", "steps", "launch-bound", "kernel-bound", "unknown", "paced by launches"]
COMMUNICATION_COLUMNS = ["step", "communication", "exposed", "hidden", "exposed share"]
SECTION = "Kernels by family, and what sets a step's pace"
SENTENCE = (
    "A step is launch-bound where its launches set more than half of its time on the device: CUDA graphs or a bigger "
    "batch help there, faster kernels do not. Communication is exposed while no other kernel runs on its device."
)


def tables_of(kernels: KernelSummary | None) -> list[Section]:
    """Where the devices' time went, by kind of step: those of the three tables that have rows."""
    if kernels is None:
        return []
    families = [_family(row) for row in kernels.families]
    paces = [_pace(row) for row in kernels.kinds if row.steps]
    communicating = [_communication(row) for row in kernels.kinds if row.communication_ns != 0]
    every = (
        Section("kernels by family (means a step on each device; of no step: sums)", FAMILY_COLUMNS, families, (0, 1)),
        Section("what sets the pace of a step on its device", PACE_COLUMNS, paces),
        Section(
            "communication that no other kernel hides (the same means and sums)", COMMUNICATION_COLUMNS, communicating
        ),
    )
    return [each for each in every if each.rows]


def show(kernels: KernelSummary | None, out: Console) -> None:
    """The tables on a terminal."""
    for each in tables_of(kernels):
        show_section(out, each)


def sections(kernels: KernelSummary | None) -> list[tuple[str, str, str]]:
    """The same for the page: one section, or none where no device did anything."""
    parts = [f"<p>{escape_html(each.title.capitalize())}</p>" + table_section(each).body for each in tables_of(kernels)]
    return [(SECTION, SENTENCE, "".join(parts))] if parts else []


def _family(row: FamilyTime) -> list[str]:
    return [row.kind, row.family, f"{row.kernels:,.1f}".removesuffix(".0"), us(row.ns), percent(row.share)]


def _pace(row: KindOfWork) -> list[str]:
    counts = (row.steps, row.launch_bound, row.kernel_bound, row.steps - row.launch_bound - row.kernel_bound)
    return [row.kind, *map(str, counts), percent(row.launch_share)]


def _communication(row: KindOfWork) -> list[str]:
    if row.communication_ns is None or row.exposed_ns is None:
        return [row.kind, *["n/a"] * 4]
    share = percent(row.exposed_ns / row.communication_ns)
    return [row.kind, us(row.communication_ns), us(row.exposed_ns), us(row.hidden_ns), share]
