"""How a window's figures look: a report for the terminal, and one line of it for logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from probes.metrics.histograms import SHARES, HistogramFigures
from probes.metrics.quantities import BY_KEY, HISTOGRAMS, ServerMetric, WindowFigures
from probes.metrics.traffic import LENGTHS
from probes.statistics.buckets import Quantile

NONE = "-"
ROUNDED = 0.9995  # what three digits show as 1: 999.6 ms is 1 s
RESTARTED = (
    "The server was restarted in this window (or several servers answer at this address): counts are those since its "
    "start, rates are too low."
)
ESTIMATE = "Counts and means are exact. Percentiles are estimates, interpolated inside the server's own buckets."


def number(value: float | None, unit: str = "") -> str:
    """A count or rate with three digits that matter; thousands apart."""
    if value is None:
        return NONE
    text = f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
    return text + unit


def percent(share: float | None) -> str:
    """A share of one, in percent."""
    return NONE if share is None else f"{100 * share:.1f} %"


def seconds(value_s: float | None) -> str:
    """A time in the unit that suits it: 850 µs, 12.3 ms, 1.85 s."""
    if value_s is None:
        return NONE
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(value_s) * factor >= ROUNDED or unit == "µs":
            return f"{value_s * factor:.3g} {unit}" if abs(value_s) < 1e3 * ROUNDED else f"{value_s:,.0f} s"
    raise AssertionError("the last unit takes all")


def quantile_text(estimate: Quantile | None, text: Callable[[float], str] = seconds) -> str:
    """An interpolated quantile; `above X` or `below X` where the buckets say no more."""
    if estimate is None:
        return NONE
    bound = "above " if estimate.above else "below " if estimate.below else ""
    return bound + text(estimate.value)


def state_rows(all_engines: WindowFigures) -> Iterator[tuple[str, str, str]]:
    """What is not a time: title, figure, meaning."""
    for key, shown in (("running", number), ("waiting", number), ("kv_cache_usage", percent)):
        yield BY_KEY[key].title, shown(getattr(all_engines, key)), BY_KEY[key].meaning + "; at the end of the window"
    looked_up = f"{number(all_engines.prefix_queries)} prompt {all_engines.prefix_unit} looked up"
    rate = percent(all_engines.prefix_hit_rate)
    yield "prefix-cache hits", rate, f"{number(all_engines.prefix_hits)} of {looked_up} were in the prefix cache"
    yield _counted(BY_KEY["preemptions"], number(all_engines.preemptions))
    for key in ("prompt_tokens", "generation_tokens"):
        count: float | None = getattr(all_engines, key)
        rate = number(all_engines.per_second(count), " tok/s" if count is not None else "")
        yield BY_KEY[key].title, rate, f"{number(count)} {BY_KEY[key].meaning}"
    per_step = number(all_engines.tokens_per_iteration)
    yield "tokens a step", per_step, "mean tokens that an engine's step computed, prompt tokens included"
    yield _counted(BY_KEY["finished"], finished_text(all_engines.finished))


def _counted(quantity: ServerMetric, shown: str) -> tuple[str, str, str]:
    return quantity.title, shown, quantity.meaning


def finished_text(by_reason: dict[str, float] | None) -> str:
    """`12 (stop 10, length 2)`."""
    if by_reason is None:
        return NONE
    reasons = ", ".join(f"{reason} {number(count)}" for reason, count in sorted(by_reason.items()) if count)
    return number(sum(by_reason.values())) + (f" ({reasons})" if reasons else "")


def report(
    all_engines: WindowFigures, by_engine: dict[str, WindowFigures], missing: list[str], title: str
) -> RenderableType:
    """The whole report of a window."""
    parts: list[RenderableType] = [Text(title, style="bold")]
    if all_engines.restarted:
        parts.append(Text(RESTARTED, style="yellow"))
    parts.append(_state_table(all_engines))
    if any(all_engines.times.values()):
        parts += [Text(""), _histogram_table("time", HISTOGRAMS, all_engines.times, seconds)]
    if len(by_engine) > 1:
        parts += [Text(""), *(Text(f"engine {name}: {short_line(each)}") for name, each in by_engine.items())]
    parts += [Text(""), Text(ESTIMATE, style="dim")]
    if missing:
        parts.append(Text(f"Not on this server: {', '.join(missing)}.", style="dim"))
    return Group(*parts)


def _state_table(all_engines: WindowFigures) -> RenderableType:
    table = _table()
    for title, shown, meaning in state_rows(all_engines):
        table.add_row(title, shown, meaning)
    return table


def lengths_table(lengths: Mapping[str, HistogramFigures | None]) -> RenderableType:
    """Prompts and answers that ended in the window, in tokens."""
    return _histogram_table("tokens", LENGTHS, lengths, number)


def _histogram_table(
    title: str,
    quantities: Sequence[ServerMetric],
    of: Mapping[str, HistogramFigures | None],
    text: Callable[[float | None], str],
) -> RenderableType:
    table = _table(title, "count", "mean", *(f"P{100 * share:g}" for share in SHARES), "what it is")
    for quantity in quantities:
        if (each := of[quantity.key]) is not None:
            shown = [quantile_text(each.quantiles[share], text) for share in SHARES]
            table.add_row(quantity.title, number(each.count), text(each.mean), *shown, quantity.meaning)
    return table


def _table(*headers: str) -> Table:
    """A table without lines, its first and last columns words, those between numbers."""
    table = Table(box=None, show_header=bool(headers), header_style="dim", padding=(0, 2, 0, 0))
    names = headers or ("", "", "")
    for at, name in enumerate(names):
        words = at in (0, len(names) - 1)
        table.add_column(name, justify="left" if words or not headers else "right", no_wrap=at < len(names) - 1)
    return table


def short_line(one: WindowFigures) -> str:
    """The figures that one watches, in one line."""
    shown = [
        f"running {number(one.running)}",
        f"waiting {number(one.waiting)}",
        f"KV {percent(one.kv_cache_usage)}",
        f"prefix hits {percent(one.prefix_hit_rate)}",
        f"preempted {number(one.preemptions)}",
        f"in {number(one.per_second(one.prompt_tokens))} tok/s",
        f"out {number(one.per_second(one.generation_tokens))} tok/s",
        *(f"{BY_KEY[key].title} P99 {_p99(one.times[key])}" for key in ("ttft", "itl")),
        f"finished {finished_text(one.finished)}",
    ]
    return "  ".join((["restarted"] if one.restarted else []) + shown)


def _p99(times: HistogramFigures | None) -> str:
    return quantile_text(times.quantiles[0.99]) if times else NONE
