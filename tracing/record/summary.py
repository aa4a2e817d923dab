"""What the recorder says at its end: what is missing, what was recorded, where it is, and which command comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from probes.console import show
from probes.errors import FAILED
from tracing import timeline
from tracing.nsys import capture
from tracing.pyspy import recording


def summary(folder: Path, code: int, problems: list[str], partial: bool) -> int:
    """Print what was recorded, what is missing first; the recorder's exit code."""
    out = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems:
        out.print(f"{'accepted' if partial else 'INCOMPLETE'}: {problem}", style="bold red", markup=False)
    has_events = any(folder.glob("events-*.bin"))
    if has_events:
        show_processes(timeline.read(folder), out)
    if code:
        out.print(f"the command ended with exit code {code}", style="yellow")
    path = shlex.quote(str(folder))
    if folder.exists():
        out.print(f"Wrote {path}", markup=False)
        if following := next_command(folder, has_events):
            out.print(f"next: python -m {following}", markup=False)
    else:
        out.print("nothing was recorded, and no folder is left")
    return code or (FAILED if problems and not partial else 0)


def next_command(folder: Path, has_events: bool) -> str:
    """The command that reads what was recorded; '' where nothing was."""
    if has_events:
        return f"tracing.review {shlex.quote(str(folder))}"
    if recording.exists(folder):
        return f"tracing.pyspy {shlex.quote(str(folder))}"
    reports = [folder / f"{capture.STEM}{suffix}" for suffix in (".nsys-rep", ".sqlite")]  # one with secrets is deleted
    return next((f"tracing.nsys {shlex.quote(str(report))}" for report in reports if report.exists()), "")


def show_processes(recorded: timeline.Timeline, out: Console) -> None:
    """A row a process, and what was lost."""
    table = Table("role", "pid", "spans", "sites hooked", "dropped", box=None, pad_edge=False)
    counts = recorded.spans["pid"].value_counts()
    for process in recorded.processes:
        figures = (process.pid, counts.get(process.pid, 0), len(process.hooked), process.dropped)
        table.add_row(", ".join(process.serves), *map(str, figures))
    show(out, table)
    if recorded.dropped or recorded.torn:
        out.print(f"{recorded.dropped} spans dropped, {recorded.torn} torn", style="yellow")
