"""An entry of the ledger as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from probes.console import show as show_laid_out
from tracing.overhead.entry import Entry

PLAIN_WIDTH = 150  # of what is not a terminal
PLAIN = "off too is a second plain engine: a change inside its interval is none that was seen here"
SPLIT = (
    "in process: no core process, no ZMQ, and no worker process either, nor its binding of OpenMP to cores; "
    "worker apart: the worker's process and its binding stay; compared with off, only the core's process is missing"
)
COLUMNS = ["arm", "tok/s", "TTFT", "TPOT", "records/s", "bytes/s", "processes"]


def cells(entry: Entry) -> list[list[str]]:
    """A row an arm: its changes against the plain engine and what its watcher wrote; n/a where it is missing."""
    lines = []
    for row in entry.rows:
        if row.changes is None:
            lines.append([row.arm, *["n/a"] * (len(COLUMNS) - 1)])
        elif row.arm != "off":
            changes = [str(change) for change in (row.changes.tok_s, row.changes.ttft_s, row.changes.tpot_s)]
            written = [f"{row.output.records_s:,.0f}", f"{row.output.bytes_s:,.0f}"] if row.output else ["", ""]
            lines.append([row.arm, *changes, *written, str(row.processes)])
    return lines


def between(entry: Entry) -> str | None:
    """What lies between the processes, from the recorder's spans: one line; None where it was not recorded."""
    row = entry.row("recorder")
    if row is None or row.output is None or row.output.between is None:
        return None
    parts = [f"{name.removesuffix('_ns')} {value / 1e3:.0f} µs" for name, value in vars(row.output.between).items()]
    steps = ", ".join(map(str, row.output.frozen_steps))
    frozen = f"steps during which it was frozen: {steps}" if steps else "no step was frozen"
    return f"between front end and core, a step: {', '.join(parts)} (recorder's spans and hops; {frozen})"


def show(entry: Entry) -> None:
    """Print an entry."""
    out = Console(highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = PLAIN_WIDTH
    plain = entry.plain
    title = (
        f"batch size {entry.batch_size}, {entry.model} model, {entry.input_len} tokens in and "
        f"{entry.output_len} out; plain engine: {plain.tok_s:,.0f} tok/s, TTFT {plain.ttft_s * 1e3:.1f} ms, "
        f"TPOT {plain.tpot_s * 1e3:.2f} ms; changes against it, medians with 95 % intervals"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "arm" else "right")
    for line in cells(entry):
        table.add_row(*map(escape, line))
    out.print()
    out.print(title, style="bold")
    show_laid_out(out, table)
    out.print(PLAIN)
    for row in entry.rows:
        if row.missing:
            out.print(f"{row.arm} is n/a: {row.missing}", markup=False)
    if way := between(entry):
        out.print(way)
    if entry.row("in process"):
        out.print(SPLIT)
