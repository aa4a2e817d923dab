"""The charts of a run, as plotly figures: colours that show on light and dark paper, the rest is the page's theme."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from offline.page.reported import ReportedRun
from offline.records.lines import RequestRecord
from offline.table.cells import Row
from offline.table.files import arm_name, number

COLOURS = ("#3b7dd8", "#e0803a", "#3a9d5d", "#b3499f", "#c9a227", "#2fa3a8", "#d0485a", "#7d6bd0", "#8a8f98", "#6b8e23")
SHARES = np.linspace(0, 1, 101)
STARTUP = ("import", "spawn", "load_weights", "profile_kv", "warm_up", "rest")
MEMORY = ("weights", "kv_cache", "rest")


def empty_chart(x: str, y: str, **layout: object) -> go.Figure:
    """A chart with the titles of its axes, to be filled."""
    figure = go.Figure()
    figure.update_layout(
        xaxis_title=x,
        yaxis_title=y,
        height=420,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": -0.2},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        **layout,
    )
    return figure


def _values(rows: Sequence[Row], column: str) -> list[float | None]:
    return [number(row, column) for row in rows]


def throughput(run: ReportedRun) -> go.Figure:
    """Output tokens a second against batch size, a line an arm and cache state, with the trials' interval as a band."""
    figure = empty_chart("batch size (requests)", "output tok/s", xaxis_type="log")
    batches = sorted({int(str(row["batch_size"])) for row in run.measured})
    figure.update_xaxes(tickvals=batches, ticktext=list(map(str, batches)))
    for i, (name, rows) in enumerate(run.by_name().items()):
        x, colour = [row["batch_size"] for row in rows], COLOURS[i % len(COLOURS)]
        low, high = _values(rows, "output_tok_s_lo"), _values(rows, "output_tok_s_hi")
        if None not in low:
            band = {"fill": "toself", "fillcolor": colour, "opacity": 0.15, "line": {"width": 0}, "hoverinfo": "skip"}
            figure.add_scatter(x=x + x[::-1], y=high + low[::-1], legendgroup=name, showlegend=False, **band)
        figure.add_scatter(x=x, y=_values(rows, "output_tok_s"), name=name, legendgroup=name, line_color=colour)
    return figure


def heat_map(run: ReportedRun) -> go.Figure:
    """Output tokens a second by arm and batch size."""
    lines = run.by_name()
    batches = sorted({int(str(row["batch_size"])) for row in run.measured})
    by_batch = [{row["batch_size"]: number(row, "output_tok_s") for row in rows} for rows in lines.values()]
    cells = [[row.get(batch) for batch in batches] for row in by_batch]
    figure = empty_chart("batch size (requests)", "", yaxis_automargin=True)
    figure.add_heatmap(
        z=cells,
        x=list(map(str, batches)),
        y=list(lines),
        colorscale="Viridis",
        texttemplate="%{z:.0f}",
        colorbar_title="tok/s",
        hovertemplate="%{y}<br>batch %{x}: %{z:.1f} tok/s<extra></extra>",
    )
    return figure


def knee(rows: Sequence[Row]) -> Row | None:
    """The cell of most throughput a second of latency: Kleinrock's power, 'Power and deterministic rules of thumb for
    probabilistic problems in computer communications' (ICC 1979)."""
    known = [row for row in rows if number(row, "latency_s_p50") and number(row, "output_tok_s")]
    return max(known, key=lambda r: (number(r, "output_tok_s") or 0) / (number(r, "latency_s_p50") or 1), default=None)


def latency(run: ReportedRun) -> go.Figure:
    """Median latency against throughput, a line an arm; a star marks the knee."""
    figure = empty_chart("output tok/s", "median latency (s)")
    for i, (name, rows) in enumerate(run.by_name().items()):
        colour = COLOURS[i % len(COLOURS)]
        figure.add_scatter(
            x=_values(rows, "output_tok_s"),
            y=_values(rows, "latency_s_p50"),
            name=name,
            legendgroup=name,
            line_color=colour,
            text=[f"batch {row['batch_size']}" for row in rows],
            mode="lines+markers",
        )
        if best := knee(rows):
            figure.add_scatter(
                x=[best["output_tok_s"]],
                y=[best["latency_s_p50"]],
                mode="markers",
                legendgroup=name,
                showlegend=False,
                marker={"symbol": "star", "size": 16, "color": colour},
                hovertext=f"knee: batch {best['batch_size']}",
            )
    return figure


def distribution(run: ReportedRun, what: str) -> go.Figure:
    """The share of requests with at most a time `ttft_s` or `tpot_s`; at first only those of the largest batch."""
    figure = empty_chart(f"{what.removesuffix('_s').upper()} (ms)", "share of requests")
    largest = max((int(str(row["batch_size"])) for row in run.measured), default=0)
    for i, row in enumerate(run.measured):
        times = _times(run.requests.get(str(row["cell"]), ()), what)
        if len(times):
            shown = True if row["batch_size"] == largest else "legendonly"
            name = f"{run.name(row)}, batch {row['batch_size']}"
            x = np.round(np.quantile(times, SHARES) * 1e3, 4).tolist()
            figure.add_scatter(x=x, y=SHARES.tolist(), name=name, visible=shown, line_color=COLOURS[i % len(COLOURS)])
    return figure


def _times(requests: Sequence[RequestRecord], what: str) -> np.ndarray:
    return np.array([value for each in requests if (value := getattr(each, what)) is not None])


def cold_and_warm(run: ReportedRun) -> go.Figure:
    """Median TTFT of the cold and the warm cells of the arms that cache."""
    figure = empty_chart("", "median TTFT (ms)", barmode="group")
    for i, state in enumerate(("cold", "warm")):
        rows = [row for row in run.measured if row["cache_state"] == state and row["prefix_caching"] == "on"]
        labels = [f"{arm_name(row, run.axes)}<br>batch {run.batch_name(row)}" for row in rows]
        times = [None if value is None else value * 1e3 for value in _values(rows, "ttft_s_p50")]
        figure.add_bar(x=labels, y=times, name=state, marker_color=COLOURS[i])
    return figure


def _stacked(run: ReportedRun, names: Sequence[str], column: str, y: str, divisor: float) -> go.Figure:
    """One bar an arm, a piece a column."""
    figure = empty_chart("", y, barmode="stack")
    arms = list({arm_name(row, run.axes): row for row in run.measured}.items())
    for i, name in enumerate(names):
        values = [(number(row, column.format(name)) or 0) / divisor for _, row in arms]
        figure.add_bar(x=[label for label, _ in arms], y=values, name=name.replace("_", " "), marker_color=COLOURS[i])
    return figure


def startup(run: ReportedRun) -> go.Figure:
    """Seconds of each arm's first start, by phase."""
    return _stacked(run, STARTUP, "startup_{}_s", "seconds", 1)


def memory(run: ReportedRun) -> go.Figure:
    """Memory of each arm's processes right after the start, by what it is for."""
    return _stacked(run, MEMORY, "{}_bytes", "MiB", 2**20)
