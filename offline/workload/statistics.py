"""The lengths of a workload as figures and as a chart."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import plotly.graph_objects as go

from offline.page.page import chart_html, plotly_script
from offline.workload.items import Item
from offline.workload.source import WorkloadSource
from probes.console import Rows
from probes.htmlpage import PageSection, page, table

COLUMNS = ["", "requests", "mean", "P10", "P50", "P90", "P99", "longest"]
DRAWN = 10_000  # requests that a profile's figures are of
BARS = 40


def sample(source: WorkloadSource, seed: int = 0) -> list[Item]:
    """All items of a list, or so many of a profile."""
    return list(source.items) or list(itertools.islice(source.draw(seed), DRAWN))


def length_rows(items: Sequence[Item]) -> Rows:
    """Input and output lengths in tokens, a row each, of the whole and of every part of a mix."""
    parts = sorted({item.part for item in items if item.part})
    groups = [("", list(items))] if len(parts) < 2 else [(part, [i for i in items if i.part == part]) for part in parts]
    rows = [_row(f"{part} input".strip(), [item.input_tokens for item in group]) for part, group in groups]
    rows += [_row(f"{part} output".strip(), [item.output_tokens for item in group]) for part, group in groups]
    shared = [item.prefix_tokens for item in items if item.prefix_tokens]
    return [*rows, _row("shared prefix", shared)] if shared else rows


def _row(name: str, lengths: list[int]) -> list[str]:
    ordered = sorted(lengths)
    places = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.1, 0.5, 0.9, 0.99)]
    return [name, f"{len(ordered):,}", f"{statistics.fmean(ordered):.2f}", *map(str, places), str(ordered[-1])]


def chart_page(source: WorkloadSource, items: Sequence[Item]) -> str:
    """A page with a histogram of both lengths."""
    figure = go.Figure()
    for name, lengths in (
        ("input", [item.input_tokens for item in items]),
        ("output", [item.output_tokens for item in items]),
    ):
        figure.add_histogram(x=lengths, name=name, opacity=0.6, nbinsx=BARS)
    figure.update_layout(barmode="overlay", xaxis_title="length (tokens)", yaxis_title="requests")
    chart = plotly_script() + chart_html(figure, "lengths")
    sections = [
        PageSection("Lengths", str(source), chart),
        PageSection("Figures", "Tokens, over the requests drawn.", table(COLUMNS, length_rows(items))),
    ]
    return page(f"Workload {source.name}", sections)
