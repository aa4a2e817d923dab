"""`table.csv`, `table.md`, `columns.md` and `report.html` of a comparison, from its raw lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from offline.baseline.folder import BaselineRun
from offline.baseline.records import (
    SIDES,
    TORCH,
    VLLM,
    SideMemory,
    SideRecord,
    SideStart,
    SideTrial,
    whole_starts,
)
from offline.baseline.table import HEADINGS, BatchRow, batch_rows, cells, factor_sentence
from offline.page.charts import COLOURS, empty_chart
from offline.page.page import STYLE, chart_html, facts_table, plotly_script, provenance
from offline.records.runfolder import write_whole
from probes.columns import sections
from probes.htmlpage import PageSection, page, table
from probes.markdown import table as markdown_table

NAMES = {TORCH: "torch", VLLM: "vllm"}  # as the columns begin
RECORDS = {  # lines of `records.jsonl` by their `kind`
    "table.csv: a row a batch size": BatchRow,
    "records.jsonl, start: a start of a side": SideStart,
    "records.jsonl, memory: a batch that is not timed": SideMemory,
    "records.jsonl, trial: a timed batch": SideTrial,
}


def write(path: Path, run: BaselineRun, records: Sequence[SideRecord]) -> list[str]:
    """Write the tables and the page; the lines of the short table. Starts that were cut off count where none is whole.

    `run` is the record of the run as it will be.
    """
    whole = whole_starts(records, run.batches, run.rounds)
    counted = [each for each in records if each.start in whole] if whole else list(records)
    rows = batch_rows(counted)
    text = sentences(run, rows, counted, len({each.start for each in records} - whole))
    frame = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(BatchRow)])
    write_whole(path / "table.csv", frame.to_csv(index=False))
    lines = [*markdown_table(HEADINGS, map(cells, rows)), "", *text]
    write_whole(path / "table.md", f"# {run.model}: vLLM against transformers\n\n" + "\n".join(lines) + "\n")
    write_whole(path / "columns.md", f"# Columns\n\n{sections(RECORDS)}\n")
    write_whole(path / "report.html", baseline_page(run, rows, text))
    return lines


def sentences(run: BaselineRun, rows: Sequence[BatchRow], records: Sequence[SideRecord], cut_off: int) -> list[str]:
    """What the table says and stands on, and what it does not say. `rows` are those of `records`."""
    lines = [factor_sentence(row) for row in rows]
    lines.append(
        f"{run.input_len} prompt and {run.output_len} output tokens a request, the same prompts on both sides."
    )
    if rows:
        lines.append(f"Factors: throughput within a round, 95 % interval over {rows[0].interval}.")
    starts = [each for each in records if isinstance(each, SideStart)]
    for side in SIDES:
        own = [each for each in starts if each.side == side]
        if own:
            idle = max(each.idle_bytes for each in own) / 2**20
            reserved = own[0].reserved_bytes
            held = "takes memory as a batch needs it" if reserved is None else f"reserves {reserved / 2**20:.0f} MiB"
            lines.append(f"{side}: {idle:.0f} MiB when ready; for keys and values it {held}.")
    if run.machine.gpus:
        lines.append("Memory is that of the processes in main memory; a device's own is not counted here.")
    if cut_off:
        lines.append(f"Starts that were cut off: {cut_off}; they count only where no start is whole.")
    return [*lines, f"The run is {run.state}: {run.reason}."] if run.reason else lines


def baseline_page(run: BaselineRun, rows: Sequence[BatchRow], text: Sequence[str]) -> str:
    """The whole page."""
    machine = run.machine
    about = (
        f"vLLM {machine.vllm} ({machine.vllm_distribution}), transformers {machine.transformers}; {machine.cpu_model}, "
        f"{machine.cores_usable} cores, {machine.memory_bytes / 2**30:.0f} GiB; {run.began}; {run.state}"
    )
    title = f"{run.model}: vLLM against transformers"
    return page(title, list(_sections(run, rows, text)), about=about, style=STYLE)


def _sections(run: BaselineRun, rows: Sequence[BatchRow], text: Sequence[str]) -> Iterator[PageSection]:
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in text)
    yield PageSection("In short", "", Markup("<ul>{}</ul>").format(items))
    if rows:
        interval = "Throughput of vLLM over that of transformers; the bar is the 95 % interval."
        yield PageSection("Factor", interval, plotly_script() + chart_html(factors(rows), "factor"))
        yield PageSection("Throughput", "Means of all timed batches.", chart_html(throughput(rows), "throughput"))
        most = "The most during a batch that is not timed."
        yield PageSection("Memory", most, chart_html(memory(rows), "memory"))
    yield PageSection("All batches", "", table(HEADINGS, [cells(row) for row in rows], text=(6, 7)))
    names = dict.fromkeys(name for settings in run.settings.values() for name in settings)
    facts = {name: [_text(run.settings[side].get(name)) for side in SIDES] for name in names}
    yield PageSection("What each side was started with", "", facts_table(SIDES, facts))
    yield provenance(run.machine, run.command_line)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def factors(rows: Sequence[BatchRow]) -> go.Figure:
    """The factor of each batch size with its interval."""
    figure = empty_chart(
        "batch size (requests)", "vLLM / transformers", xaxis_type="category", yaxis_rangemode="tozero"
    )
    above = [(row.factor_hi or row.factor) - row.factor for row in rows]
    below = [row.factor - (row.factor_lo or row.factor) for row in rows]
    figure.add_scatter(
        x=[str(row.batch_size) for row in rows],
        y=[row.factor for row in rows],
        error_y={"array": above, "arrayminus": below},
        mode="markers",
        marker={"color": COLOURS[0], "size": 10},
    )
    figure.add_hline(y=1, line_dash="dot", line_color=COLOURS[8])
    return figure


def throughput(rows: Sequence[BatchRow]) -> go.Figure:
    """Output tokens a second of both sides."""
    return _both(rows, "output tok/s", "tok_s", 1)


def memory(rows: Sequence[BatchRow]) -> go.Figure:
    """Memory of both sides during a batch."""
    return _both(rows, "MiB", "during_bytes", 2**20)


def _both(rows: Sequence[BatchRow], title: str, column: str, unit: int) -> go.Figure:
    figure = empty_chart("batch size (requests)", title, xaxis_type="category", barmode="group")
    for side, colour in zip(SIDES, COLOURS, strict=False):
        values = [getattr(row, f"{NAMES[side]}_{column}") for row in rows]
        known = [None if value is None else value / unit for value in values]
        figure.add_bar(x=[str(row.batch_size) for row in rows], y=known, name=side, marker_color=colour)
    return figure
