"""`report.html`: one run as a page that works from disk, with its charts and scripts inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from offline.environments.environment import fact_rows
from offline.page import budgets, changedcode, charts
from offline.page.cards import COLUMNS, card_rows, has_cards
from offline.page.reported import ReportedRun
from offline.page.summary import summary
from offline.records.runfolder import write_whole
from offline.spec.grid import column_of
from offline.table.cells import Row, Value
from offline.table.differences import HEADINGS, UNDER, headline
from offline.table.files import ARM_FACTS, IDENTITY, SHOWN, arm_name, plain
from probes.htmlpage import PageSection, filled, page, table
from probes.machine import Machine

FILE = "report.html"
STYLE = """
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
th button:focus-visible { outline: 2px solid var(--bar); } td.differs { background: #e0a03033; }
li, h3 { max-width: 85ch; } details pre { overflow-x: auto; font-size: 0.72em; } input { font: inherit; }
.plotly-graph-div { max-width: 100%; overflow: hidden; }
@media print { .modebar, input { display: none !important; } h2 { break-after: avoid; } }
"""
TOGGLE = "A click on a name hides its line, a double click all others; drag to zoom, double click to reset."


MORE = ("running_mean", "preemptions", "mbu", "mfu", "cached_tokens", "expected_cached_tokens", "reason")


@dataclass(frozen=True)
class CellValue:
    """A value of the table of cells: as text, and as it sorts."""

    text: str
    raw: str


def write(path: Path, run: ReportedRun) -> Path:
    """Write the page into a run's folder; its path."""
    target = path / FILE
    write_whole(target, report(run))
    return target


def report(run: ReportedRun) -> str:
    """The whole page."""
    record, machine = run.record, run.record.machine
    about = (
        f"vLLM {machine.vllm} ({machine.vllm_distribution}); {machine.cpu_model}, {machine.cores_usable} cores, "
        f"{machine.memory_bytes / 2**30:.0f} GiB, GPUs: {len(machine.gpus)}; {record.began}; {record.state}"
    )
    return page(f"{record.model}: {record.variant}", list(sections(run)), about=about, style=STYLE)


def sections(run: ReportedRun) -> Iterator[PageSection]:
    """All sections, the answer first."""
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in summary(run))
    yield PageSection("In short", "", Markup("<ul>{}</ul>").format(items))
    if lines := headline(run.differences):
        yield PageSection("Differences", UNDER, table(HEADINGS, lines, text=(0, 1, 2, 6)))
    if run.measured:
        yield from _charts(run)
    if has_cards(run):
        yield PageSection("Models and cards", CARDS, table(COLUMNS, card_rows(run)))
    if run.budgets:
        yield from _budgets(run)
    if run.changed_stages:
        yield changedcode.section(run.changed_stages)
    yield _resolved(run)
    if every := run.record.environments:
        body = facts_table(list(every), fact_rows(every))
        yield PageSection("Environments", "What runs the engines of each, and every package that differs.", body)
    yield PageSection("All cells", "Click a heading to sort by it; click again to reverse the order.", _cells(run))
    yield provenance(run.record.machine, run.record.command_line)


def _charts(run: ReportedRun) -> Iterator[PageSection]:
    band = "The band is the 95 % t-interval over a cell's trials, which says nothing of other starts."
    yield PageSection(
        "Throughput", f"{band} {TOGGLE}", plotly_script() + chart_html(charts.throughput(run), "throughput")
    )
    yield PageSection("By arm and batch size", "Output tok/s.", chart_html(charts.heat_map(run), "heat-map"))
    knee = "A star is the knee of a line: the most throughput per second of latency (Kleinrock's power)."
    yield PageSection("Latency against throughput", knee, chart_html(charts.latency(run), "latency"))
    shares = "All requests of all trials; those of the largest batch are shown first; click the legend for the others."
    yield PageSection("Time to first token", shares, chart_html(charts.distribution(run, "ttft_s"), "ttft"))
    yield PageSection("Time per output token", shares, chart_html(charts.distribution(run, "tpot_s"), "tpot"))
    if any(row["cache_state"] == "warm" for row in run.measured):
        yield PageSection(
            "Cold and warm", "Arms with prefix caching.", chart_html(charts.cold_and_warm(run), "cold-warm")
        )
        columns, rows = _block_sizes(run)
        yield PageSection("What a block size does", BLOCKS, table(columns, rows, text=(0, 1)))
    first = "Of each arm's first start."
    yield PageSection("Start-up", first, chart_html(charts.startup(run), "startup"))
    yield PageSection("Memory", f"{first} KV cache: what it reserves.", chart_html(charts.memory(run), "memory"))


def _budgets(run: ReportedRun) -> Iterator[PageSection]:
    """Where the time of recorded trials went."""
    about = (
        "The mean request of recorded trials, one of each cell in each start, untimed: every nanosecond from the call "
        f"to the last output belongs to one stage. {budgets.cost_sentence(run.slowdown)}"
    )
    columns, rows = budgets.request_table(run)
    traces = ", ".join(sorted({folder for budget in run.budgets.values() for folder in budget.folders}))
    body = chart_html(budgets.budget_chart(run), "budgets") + table(columns, rows)
    note = Markup("<p>Each start's trace, for python -m tracing.review: {}</p>").format(traces)
    yield PageSection("Where a cell's time goes", about, body + note)
    columns, rows = budgets.step_table(run)
    yield PageSection("What its steps are made of", "The mean step of each kind.", table(columns, rows, text=(0, 1)))
    if changes := list(budgets.change_rows(run.reasons)):
        yield PageSection("What grew", GREW, table(budgets.CHANGES, changes, text=(0, 1, 6)))


CARDS = "The fastest cell of each arm. Memory: on a GPU, all that is in use; on CPU, a worker's weights and KV cache."
GREW = (
    "The mean request by stage (a decode step, where no request is whole), from arm to arm. Engine starts are the "
    "replicates; the intervals of one difference hold together, by Bonferroni, over the whole and all stages. Stages "
    "under 0.5 % on both sides are taken together."
)
BLOCKS = (
    "Throughput relative to the first block size at the same batch. Cold, where nothing is cached, shows what the "
    "block size does to the kernels; warm over cold shows what is left, the granularity of hits."
)


def _block_sizes(run: ReportedRun) -> tuple[list[str], list[list[str]]]:
    """A row a block size and batch: ratios of throughput to the first block size, and cached tokens."""
    columns = ["block size", "batch", "cold (kernels)", "warm", "warm / cold (hits)", "cached", "expected"]
    cached = [row for row in run.measured if row["prefix_caching"] == "on"]
    by = {(row["block_size"], run.batch_name(row), row["cache_state"]): row for row in cached}
    rows: list[list[str]] = []
    for (block, batch, state), row in by.items():
        first = next(each for each, size, _ in by if size == batch)
        ratios = [_ratio(by.get((block, batch, s)), by.get((first, batch, s))) for s in ("cold", "warm")]
        if state == "warm" and None not in ratios:
            cold, warm = (float(value or 0) for value in ratios)
            tokens = [plain(row.get(name)) for name in ("cached_tokens", "expected_cached_tokens")]
            rows.append([str(block), batch, f"{cold:.3f}", f"{warm:.3f}", f"{warm / cold:.3f}", *tokens])
    return columns, rows


def _ratio(row: Row | None, base: Row | None) -> float | None:
    values = [each and each.get("output_tok_s") for each in (row, base)]
    return float(str(values[0])) / float(str(values[1])) if all(values) else None


def plotly_script() -> Markup:
    """plotly's program, which a page with charts holds once, before the first."""
    return Markup("<script>{}</script>").format(Markup(get_plotlyjs()))


def chart_html(figure: go.Figure, name: str) -> Markup:
    """A figure's own part of the page."""
    options = {"responsive": True, "displaylogo": False, "displayModeBar": "hover"}
    return Markup(to_html(figure, config=options, include_plotlyjs=False, full_html=False, div_id=f"chart-{name}"))


def _resolved(run: ReportedRun) -> PageSection:
    """What each arm resolved to; facts in which arms differ are marked."""
    arms = list({arm_name(row, run.axes): row for row in run.rows}.items())
    facts = {name: [row.get(name) for _, row in arms] for name in ARM_FACTS}
    body = facts_table([name for name, _ in arms], facts)
    return PageSection("What each arm resolved to", "Marked: what differs between arms.", body)


def facts_table(names: Sequence[str], facts: Mapping[str, Sequence[Value]]) -> Markup:
    """A column a name, a row a fact."""
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in ("", *names))
    lines = Markup("").join(_fact_row(name, values) for name, values in facts.items())
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, lines)


def _fact_row(name: str, values: Sequence[Value]) -> Markup:
    """A row of a table of facts; marked where they differ."""
    marked = Markup(' class="differs"') if len(set(map(str, values))) > 1 else Markup("")
    cells = Markup("").join(Markup("<td{}>{}</td>").format(marked, plain(value)) for value in values)
    return Markup("<tr><td>{}</td>{}</tr>").format(name, cells)


def _cells(run: ReportedRun) -> Markup:
    figures = [column for _, column, _ in SHOWN]
    columns = list(dict.fromkeys([*IDENTITY, *map(column_of, run.axes), "status", "trials", *figures, *MORE]))
    rows = [[_value(row.get(name)) for name in columns] for row in run.rows]
    scripts = Markup("<script>{}</script>").format(Markup(files("offline.page").joinpath("page.js").read_text()))
    return filled("offline.page", "cells.html", columns=columns, rows=rows) + scripts


def _value(value: Value) -> CellValue:
    if isinstance(value, float):
        return CellValue(f"{value:.4g}", repr(value))
    return CellValue("" if value is None else plain(value), "" if value is None else str(value))


def provenance(machine: Machine, command_line: str) -> PageSection:
    """The command that asked for a run, and the machine that it ran on."""
    facts = [[name, plain(value)] for name, value in vars(machine).items() if name != "cpu_flags"]
    command = Markup("<pre>{}</pre>").format(command_line)
    return PageSection("Command and machine", "", command + table(("", ""), facts, text=(0, 1)))
