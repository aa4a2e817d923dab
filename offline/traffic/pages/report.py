"""`table.csv`, `table.md`, `columns.md` and `report.html` of a load run, from its raw lines, and its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from offline.load.folder import LoadRun
from offline.load.records import MeasuredRate, ServedRequest, StepLine, VariantStart
from offline.page.page import STYLE, chart_html, facts_table, plotly_script, provenance
from offline.records.runfolder import write_whole
from offline.traffic.factors import GAINS, gain_rows
from offline.traffic.pages.handout import PAPER, about, write_handout
from offline.traffic.pages.loadcharts import load_charts
from offline.traffic.pages.loadsummary import load_summary
from offline.traffic.pages.paper import HEADINGS, paper_rows
from offline.traffic.pages.sidetables import side_tables
from offline.traffic.results import LoadResults, load_results
from offline.traffic.rows import SHORT_HEADINGS, TEXT, RateRow, cells, markdown_table, markdown_text, rows
from offline.variants.resolution import resolved_facts
from probes.columns import sections as columns_of
from probes.htmlpage import PageSection, page, table

RECORDS = {  # by the files of a run that hold them
    "table.csv: a row a variant and rate": RateRow,
    "starts/*/configuration.json: a start of a variant": VariantStart,
    "starts/*/rates.jsonl: a rate that was measured to its end": MeasuredRate,
    "starts/*/requests.jsonl.zst: a request of a rate": ServedRequest,
    "starts/*/steps.jsonl.zst: a step of the engine": StepLine,
}


def write(path: Path, run: LoadRun | None = None) -> tuple[list[str], Path]:
    """Write the tables and the page into a run's folder, and its report beside all runs.

    The lines of the short table, and the report's path. `run` is the run's record to be.
    """
    results = load_results(path, run)
    table_rows = rows(results)
    frame = pd.DataFrame([asdict(row) for row in table_rows], columns=[each.name for each in fields(RateRow)])
    write_whole(path / "table.csv", frame.to_csv(index=False))
    lines, summary = markdown_table(SHORT_HEADINGS, map(cells, table_rows)), load_summary(results, table_rows)
    items = [f"- {markdown_text(sentence)}" for sentence in summary]
    head = [f"# {markdown_text(results.run.model)}: load", ""]
    write_whole(path / "table.md", "\n".join([*head, *items, "", *lines]) + "\n")
    write_whole(path / "columns.md", f"# Columns\n\n{columns_of(RECORDS)}\n")
    write_whole(path / "report.html", load_page(results, table_rows))
    return [*summary, "", *lines], write_handout(path.resolve().parents[2], results, table_rows)


def load_page(results: LoadResults, table_rows: Sequence[RateRow]) -> str:
    """The whole page."""
    every = list(sections(results, table_rows))
    return page(f"{results.run.model}: load", every, about=about(results.run), style=STYLE)


def sections(results: LoadResults, table_rows: Sequence[RateRow]) -> Iterator[PageSection]:
    """All sections, the answer first."""
    sentences = load_summary(results, table_rows)
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    yield PageSection("In short", "", Markup("<ul>{}</ul>").format(items))
    if results.rates:
        yield from _charts(results, table_rows)
    yield PageSection("All rates", "", table(SHORT_HEADINGS, [cells(row) for row in table_rows], text=TEXT))
    yield PageSection("Beside the papers", PAPER, table(HEADINGS, paper_rows(results), text=(0, 1, 2, 3)))
    resolved = facts_table(*resolved_facts(results.starts, results.variants))
    yield PageSection("What each variant resolved to", "Marked: what differs between variants.", resolved)
    for each in side_tables(results, table_rows):
        yield PageSection(each.title, each.about, table(each.headings, each.lines, text=each.text))
    yield provenance(results.run.machine, results.run.command_line)


def _charts(results: LoadResults, table_rows: Sequence[RateRow]) -> Iterator[PageSection]:
    script = plotly_script()  # before the first chart, once
    for chart in load_charts(results, table_rows):
        body = script + chart_html(chart.figure, chart.name)
        if chart.name == "gains":
            body += table(GAINS, list(gain_rows(results)))
        yield PageSection(chart.title, f"{chart.about} {chart.live}".rstrip(), body)
        script = Markup("")
