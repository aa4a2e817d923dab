"""`table.csv`, `table.md`, `columns.md` and `report.html` of a load run, from its raw lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from offline.load.folder import LoadRun
from offline.load.schedule import level_name
from offline.page.page import STYLE, TOGGLE, chart_html, facts_table, plotly_script, provenance
from offline.records.resolved import Resolved
from offline.records.runfolder import write_whole
from offline.records.workers import worker_memory
from offline.traffic import loadcharts
from offline.traffic.factors import factor_text, optimizations, rate_ratio
from offline.traffic.loadsummary import load_summary
from offline.traffic.paper import HEADINGS, paper_rows
from offline.traffic.results import LoadResults, load_results
from offline.traffic.rows import RateRow, rows
from offline.variants.builtin import PAGE
from offline.variants.resolution import first_up
from probes.columns import markdown
from probes.htmlpage import PageSection, page, table

SHOWN = (
    ("variant", "variant", ""),
    ("req/s", "rate", ""),
    ("starts", "starts", ""),
    ("verdict", "verdict", ""),
    ("finished", "finished", ""),
    ("unfinished", "unfinished", ""),
    ("normalized s/token", "normalized_s", ".4f"),
    ("TTFT p50 s", "ttft_s_p50", ".3f"),
    ("TPOT p50 s", "tpot_s_p50", ".4f"),
    ("longest ITL s", "longest_itl_s", ".3f"),
    ("out tok/s", "output_tok_s", ".1f"),
    ("running", "running_mean", ".1f"),
    ("goodput req/s", "goodput_req_s", ".2f"),
)
TEXT = (0, 1, 3)
POINTS = (
    "Filled: sustained; cross: not sustained; open: undecided; diamond: one request at a time. The band is the knee."
)
SHARES = "Finished requests of all starts; at first those of the highest rate, the others by the legend."
PAPER = "Directions and factors that two papers state, beside this run. A small model on this machine proves neither."


def write(path: Path, run: LoadRun | None = None) -> list[str]:
    """Write the tables and the page into a run's folder; the lines of the short table. `run` is its record to be."""
    results = load_results(path, run)
    table_rows = rows(results)
    frame = pd.DataFrame([asdict(row) for row in table_rows], columns=[each.name for each in fields(RateRow)])
    write_whole(path / "table.csv", frame.to_csv(index=False))
    lines = markdown_table(table_rows)
    summary = [f"- {sentence}" for sentence in load_summary(results, table_rows)]
    write_whole(path / "table.md", "\n".join([f"# {results.run.model}: load", "", *summary, "", *lines]) + "\n")
    write_whole(path / "columns.md", f"# table.csv\n\n{markdown(RateRow)}\n")
    write_whole(path / "report.html", load_page(results, table_rows))
    return [*(sentence.removeprefix("- ") for sentence in summary), "", *lines]


def markdown_table(table_rows: Sequence[RateRow]) -> list[str]:
    """The short table in Markdown."""
    head = [name for name, _, _ in SHOWN]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return [*lines, *(f"| {' | '.join(cells(row))} |" for row in table_rows)]


def cells(row: RateRow) -> list[str]:
    """A row of the short table; what is not known is `-`."""
    values = [(getattr(row, name), form) for _, name, form in SHOWN]
    return ["-" if value is None else format(value, form) for value, form in values]


def load_page(results: LoadResults, table_rows: Sequence[RateRow]) -> str:
    """The whole page."""
    run, machine = results.run, results.run.machine
    about = (
        f"vLLM {machine.vllm} ({machine.vllm_distribution}); {machine.cpu_model}, {machine.cores_usable} cores, "
        f"{machine.memory_bytes / 2**30:.0f} GiB, GPUs: {len(machine.gpus)}; {run.workload}; {run.began}; {run.state}"
    )
    return page(f"{run.model}: load", list(sections(results, table_rows)), about=about, style=STYLE)


def sections(results: LoadResults, table_rows: Sequence[RateRow]) -> Iterator[PageSection]:
    """All sections, the answer first."""
    sentences = load_summary(results, table_rows)
    items = Markup("").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    yield PageSection("In short", "", Markup("<ul>{}</ul>").format(items))
    if results.rates:
        yield from _charts(results, table_rows)
    heads = [name for name, _, _ in SHOWN]
    yield PageSection("All rates", "", table(heads, [cells(row) for row in table_rows], text=TEXT))
    yield PageSection("Beside the papers", PAPER, table(HEADINGS, paper_rows(results), text=(0, 1, 2, 3)))
    yield _resolved(results)
    if lines := list(_workers(results)):
        yield PageSection("Workers", WORKERS, table(WORKER_HEADINGS, lines, text=(0, 1)))
    yield provenance(results.run.machine, results.run.command_line)


def _charts(results: LoadResults, table_rows: Sequence[RateRow]) -> Iterator[PageSection]:
    latency = chart_html(loadcharts.normalized_latency(results, table_rows), "normalized")
    yield PageSection("Normalized latency against rate", f"{POINTS} {TOGGLE}", plotly_script() + latency)
    batch = "A variant whose steps are not known has no line."
    yield PageSection(
        "Throughput against batch", batch, chart_html(loadcharts.throughput(results, table_rows), "batch")
    )
    for name, title in (("ttft_s", "Time to first token"), ("tpot_s", "Time per output token")):
        yield PageSection(title, SHARES, chart_html(loadcharts.distribution(results, name), name.removesuffix("_s")))
    highest = "At the highest rate of each variant, on its first start."
    yield PageSection("Queue and batch over time", highest, chart_html(loadcharts.over_time(results), "time"))
    if optimizations(results):
        yield PageSection(
            "What each optimization brought",
            f"Against {PAGE} at the same rate, over starts; below 1 it cost.",
            chart_html(loadcharts.gains(results), "gains") + table(GAINS, list(_gains(results))),
        )


GAINS = ("variant", "req/s", "normalized latency", "TTFT", "longest ITL", "output tok/s")


def _gains(results: LoadResults) -> Iterator[list[str]]:
    """Ratios to the plain engine: latencies below 1 and throughput above 1 are gains."""
    for variant in optimizations(results):
        for rate in results.levels(variant):
            names = ("normalized", "ttft", "longest_itl_s", "output_tok_s")
            ratios = [factor_text(rate_ratio(results, variant, PAGE, rate, name)) for name in names]
            yield [variant, level_name(rate), *ratios]


WORKERS = "Of engines with more than one, right after the first start, in MiB."
WORKER_HEADINGS = ("variant", "worker", "weights", "KV cache", "resident memory")


def _workers(results: LoadResults) -> Iterator[list[str]]:
    """A row a worker of the first start of each variant that has several."""
    for start in first_up(results.starts).values():
        workers = worker_memory(start.phases, start.memory)
        for worker in workers if len(workers) > 1 else ():
            sizes = (worker.weights_bytes, worker.kv_cache_bytes, worker.rss_bytes)
            yield [start.variant, worker.title, *("-" if size is None else f"{size / 2**20:.0f}" for size in sizes)]


def _resolved(results: LoadResults) -> PageSection:
    """What each variant's first start resolved to; facts in which variants differ are marked."""
    first = first_up(results.starts)
    columns = [first[name] for name in results.variants if name in first]
    facts = {each.name: [getattr(start.resolved, each.name) for start in columns] for each in fields(Resolved)}
    body = facts_table([each.variant for each in columns], facts)
    return PageSection("What each variant resolved to", "Marked: what differs between variants.", body)
