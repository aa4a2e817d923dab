"""The charts of a load run: latency against rate, throughput against batch, distributions, and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from offline.load.planning.schedule import level_name
from offline.page.charts import COLOURS, SHARES, empty_chart
from offline.page.page import TOGGLE
from offline.traffic.backlog import NOT_SUSTAINED, SUSTAINED
from offline.traffic.factors import optimizations, rate_ratio
from offline.traffic.results import LoadResults
from offline.traffic.rows import RateRow
from offline.variants.builtin import PAGE

SYMBOLS = {SUSTAINED: "circle", NOT_SUSTAINED: "x", "": "diamond"}
MOST_POINTS = 500  # of a line over time
POINTS = (
    "Filled: sustained; cross: not sustained; open: undecided; diamond: one request at a time. The band is the knee."
)
SEARCHED = " Those of a search last differently long: the longer one lasts that is too high, the slower its requests."
SHARES_ABOUT = "Finished requests of all starts, at the highest rate of each variant."
OTHERS = "The other rates are in the legend."


@dataclass(frozen=True)
class LoadChart:
    """A chart with what stands above it; `live` is said where it can be clicked."""

    name: str
    title: str
    about: str
    figure: go.Figure
    live: str = ""


def load_charts(results: LoadResults, rows: Sequence[RateRow]) -> Iterator[LoadChart]:
    """All charts of a run that has measured a rate."""
    about = POINTS + SEARCHED * results.run.spec.knee
    yield LoadChart(
        *("normalized", "Normalized latency against rate", about), normalized_latency(results, rows), live=TOGGLE
    )
    steps = "A variant whose steps are not known has no line."
    yield LoadChart("batch", "Throughput against batch", steps, throughput(results, rows))
    for name, title in (("ttft", "Time to first token"), ("tpot", "Time per output token")):
        yield LoadChart(name, title, SHARES_ABOUT, distribution(results, f"{name}_s"), live=OTHERS)
    highest = "At the highest rate of each variant, on its first start."
    yield LoadChart("time", "Queue and batch over time", highest, over_time(results))
    if optimizations(results):
        against = f"Against {PAGE} at the same rate, over starts; below 1 it cost."
        yield LoadChart("gains", "What each optimization brought", against, gains(results))


def normalized_latency(results: LoadResults, rows: Sequence[RateRow]) -> go.Figure:
    """Normalized latency against the offered rate, a line a variant, with intervals; the knee's bracket as a band."""
    figure = empty_chart("requests/s", "normalized latency (s/token)", yaxis_type="log")
    for variant, colour in _colours(results):
        own = sorted(
            (row for row in rows if row.variant == variant and row.normalized_s is not None),
            key=lambda row: row.offered_req_s,
        )
        values = [row.normalized_s or 0.0 for row in own]
        known = all(row.normalized_s_hi is not None for row in own)
        above = [(row.normalized_s_hi or value) - value for row, value in zip(own, values, strict=True)]
        below = [value - (row.normalized_s_lo or value) for row, value in zip(own, values, strict=True)]
        figure.add_scatter(
            x=[row.offered_req_s for row in own],
            y=values,
            error_y={"array": above, "arrayminus": below, "visible": known and bool(own)},
            name=variant,
            legendgroup=variant,
            line_color=colour,
            mode="lines+markers",
            marker={"symbol": [SYMBOLS.get(row.verdict, "circle-open") for row in own], "size": 10},
            text=[f"{row.rate}: {row.verdict or 'closed'}" for row in own],
        )
        knee = results.knee(variant)
        if knee.low_req_s is not None and knee.high_req_s is not None:
            figure.add_vrect(x0=knee.low_req_s, x1=knee.high_req_s, fillcolor=colour, opacity=0.15, line_width=0)
    return figure


def throughput(results: LoadResults, rows: Sequence[RateRow]) -> go.Figure:
    """Output tokens a second against requests that ran in a step."""
    figure = empty_chart("requests running in a step (mean)", "output tok/s")
    for variant, colour in _colours(results):
        own = sorted(
            (row for row in rows if row.variant == variant and row.running_mean is not None),
            key=lambda row: row.running_mean or 0.0,
        )
        figure.add_scatter(
            x=[row.running_mean for row in own],
            y=[row.output_tok_s for row in own],
            name=variant,
            line_color=colour,
            mode="lines+markers",
            text=[row.rate for row in own],
        )
    return figure


def distribution(results: LoadResults, name: str) -> go.Figure:
    """The share of finished requests with at most a time; at first those of the highest rate."""
    figure = empty_chart(f"{name.removesuffix('_s').upper()} (ms)", "share of requests", xaxis_type="log")
    for variant, colour in _colours(results):
        levels = results.levels(variant)
        for rate in levels:
            every = [getattr(each, name) for result in results.of(variant, rate) for each in result.times]
            times = [value for value in every if value is not None]
            if times:
                figure.add_scatter(
                    x=np.round(np.quantile(times, SHARES) * 1e3, 4).tolist(),
                    y=SHARES.tolist(),
                    name=f"{variant}, {level_name(rate, 'req/s')}",
                    visible=True if rate == levels[-1] else "legendonly",
                    line_color=colour,
                )
    return figure


def over_time(results: LoadResults) -> go.Figure:
    """Requests that run and that wait, at the highest rate of each variant, on its first start."""
    figure = empty_chart("seconds since the first request was due", "requests")
    for variant, colour in _colours(results):
        first = results.of(variant, results.levels(variant)[-1])[0]
        begin_ns = first.figures.measured.begin_ns
        steps = first.steps[:: max(1, len(first.steps) // MOST_POINTS)]
        x = [(step.start_ns - begin_ns) / 1e9 for step in steps]
        for label, dash in (("running", "solid"), ("waiting", "dot")):
            y = [getattr(step, label) for step in steps]
            figure.add_scatter(
                x=x, y=y, name=f"{variant}, {label}", line={"color": colour, "dash": dash, "shape": "hv"}
            )
    return figure


def gains(results: LoadResults) -> go.Figure:
    """Normalized latency of the plain engine over that of each single optimization, at each rate."""
    figure = empty_chart("", f"times faster than {PAGE}", barmode="group")
    for number, rate in enumerate(results.levels(PAGE) if PAGE in results.variants else ()):
        ratios = {name: rate_ratio(results, PAGE, name, rate, "normalized") for name in optimizations(results)}
        known = {name: each for name, each in ratios.items() if each is not None}
        highs = [(each.high or each.value) - each.value for each in known.values()]
        lows = [each.value - (each.low or each.value) for each in known.values()]
        figure.add_bar(
            x=[name.removeprefix(f"{PAGE}+") for name in known],
            y=[each.value for each in known.values()],
            error_y={"array": highs, "arrayminus": lows},
            name=level_name(rate, "req/s"),
            marker_color=COLOURS[number % len(COLOURS)],
        )
    return figure


def _colours(results: LoadResults) -> list[tuple[str, str]]:
    return [(name, COLOURS[place % len(COLOURS)]) for place, name in enumerate(results.variants)]
