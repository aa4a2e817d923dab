"""The report of a load run that stands by itself: a Markdown file, and beside it a folder with its charts as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from offline.load.folder import LoadRun
from offline.page.drawing import drawing
from offline.records.runfolder import REPORTS, write_whole
from offline.table.files import plain
from offline.traffic.factors import GAINS, gain_rows
from offline.traffic.pages.loadcharts import LoadChart, load_charts
from offline.traffic.pages.loadsummary import load_summary
from offline.traffic.pages.paper import HEADINGS, paper_rows
from offline.traffic.pages.sidetables import side_tables
from offline.traffic.results import LoadResults
from offline.traffic.rows import SHORT_HEADINGS, RateRow, cells, markdown_table, markdown_text
from offline.variants.resolution import resolved_facts
from probes.errors import EnginescopeError

PAPER = "Directions and factors that two papers state, beside this run. A small model on this machine proves neither."


def write_handout(out: Path, results: LoadResults, table_rows: Sequence[RateRow]) -> Path:
    """Write `out/reports/<run>.md` and its charts, `out/reports/<run>/<name>.svg`; the path of the first."""
    run = results.run
    charts = list(load_charts(results, table_rows)) if results.rates else []
    folder = out / REPORTS / run.id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnginescopeError(f"cannot write to {out}: {error.strerror}") from error
    for chart in charts:
        write_whole(folder / f"{chart.name}.svg", drawing(chart.figure, chart.title))
    target = folder.with_name(f"{run.id}.md")
    write_whole(target, "\n".join(report_lines(results, table_rows, charts)) + "\n")
    return target


def about(run: LoadRun) -> str:
    """What was measured, on what, and when, in one line."""
    machine = run.machine
    return (
        f"vLLM {machine.vllm} ({machine.vllm_distribution}); {machine.cpu_model}, {machine.cores_usable} cores, "
        f"{machine.memory_bytes / 2**30:.0f} GiB, GPUs: {len(machine.gpus)}; {run.workload}; {run.began}; {run.state}"
    )


def report_lines(results: LoadResults, rows: Sequence[RateRow], charts: Sequence[LoadChart]) -> Iterator[str]:
    """The report, the answer first."""
    run = results.run
    yield from (f"# {markdown_text(run.model)}: load, {run.id}", "", markdown_text(about(run)), "")
    yield from (f"- {markdown_text(sentence)}" for sentence in load_summary(results, rows))
    for chart in charts:
        yield from ("", f"## {chart.title}", "", markdown_text(chart.about), "")
        yield f"![{chart.title}]({run.id}/{chart.name}.svg)"
        if chart.name == "gains":
            yield from ("", *markdown_table(GAINS, gain_rows(results)))
    yield from ("", "## All rates", "", *markdown_table(SHORT_HEADINGS, map(cells, rows)))
    yield from ("", "## Beside the papers", "", PAPER, "", *markdown_table(HEADINGS, paper_rows(results)))
    names, facts = resolved_facts(results.starts, results.variants)
    lines = [[name, *map(plain, values)] for name, values in facts.items() if any(each is not None for each in values)]
    if lines:
        yield from ("", "## What each variant resolved to", "", *markdown_table(("", *names), lines))
    for each in side_tables(results, rows):
        yield from ("", f"## {each.title}", "", each.about, "", *markdown_table(each.headings, each.lines))
    yield from ("", "## Command and machine", "", *(f"    {line}" for line in run.command_line.splitlines()), "")
    machine = [[name, plain(value)] for name, value in vars(run.machine).items() if name != "cpu_flags"]
    yield from markdown_table(("", ""), machine)
