"""An entry of the ledger as tables for a terminal."""

from __future__ import annotations

from typing import Any

from tracing.overhead.ledger import change

PLAIN_WIDTH = 150  # of what is not a terminal
PLAIN = "off too is a second plain engine: a change inside its interval is none that was seen here"
SPLIT = (
    "in process: no core process, no ZMQ, and no worker process either, nor its binding of OpenMP to cores; "
    "worker apart: the worker's process and its binding stay, so that against off the core's process alone is missing"
)
COLUMNS = ["arm", "tok/s", "TTFT", "TPOT", "records/s", "bytes/s", "processes"]


def rows(entry: dict[str, Any]) -> list[list[str]]:
    """A row an arm: its changes against the plain engine and what it brought in; n/a where it is missing."""
    found = []
    for row in entry["rows"]:
        if row["missing"]:
            found.append([row["arm"], *["n/a"] * (len(COLUMNS) - 1)])
        elif row["arm"] != "off":
            figures = [change(row[name]) for name in ("tok_s", "ttft_s", "tpot_s")]
            brought = [f"{row[name]:,.0f}" if name in row else "" for name in ("records_s", "bytes_s")]
            found.append([row["arm"], *figures, *brought, str(row["processes"])])
    return found


def between(entry: dict[str, Any]) -> str | None:
    """What lies between the processes, from the recorder's spans: one line; None where it was not recorded."""
    row = next((row for row in entry["rows"] if row["arm"] == "recorder" and "between" in row), None)
    if row is None:
        return None
    parts = [f"{name.removesuffix('_ns')} {value / 1e3:.0f} µs" for name, value in row["between"].items()]
    frozen = row["frozen_steps"]
    named = f"steps during which it was frozen: {', '.join(map(str, frozen))}" if frozen else "no step was frozen"
    return f"between front end and core, a step: {', '.join(parts)} (recorder's spans and hops; {named})"


def show(entry: dict[str, Any]) -> None:
    """Print an entry."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = PLAIN_WIDTH
    base = entry["base"]
    title = (
        f"batch size {entry['batch_size']}, {entry['model']} model, {entry['input_len']} tokens in and "
        f"{entry['output_len']} out; plain engine: {base['tok_s']:,.0f} tok/s, TTFT {base['ttft_s'] * 1e3:.1f} ms, "
        f"TPOT {base['tpot_s'] * 1e3:.2f} ms; changes against it, medians with 95 % intervals"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in rows(entry):
        table.add_row(*map(escape, row))
    out.print()
    out.print(title, style="bold")
    out.print(table)
    out.print(PLAIN)
    for row in entry["rows"]:
        if row["missing"]:
            out.print(f"{row['arm']} is n/a: {row['missing']}", markup=False)
    if line := between(entry):
        out.print(line)
    if any(row["arm"] == "in process" and not row["missing"] for row in entry["rows"]):
        out.print(SPLIT)
