"""A report's content, the same for the terminal, Markdown and HTML: sections of rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from probes.console import Section
from probes.metrics.table import NONE, number, percent, seconds
from probes.report.repeats import NOT_COUNTED
from probes.report.summary import SHARES, Latencies, Summary, differences
from probes.statistics.blocks import FEWEST
from probes.statistics.intervals import Estimate, ratio

TIMES = {
    "latency": ("latency", "from the scheduled time to the end; retries and waiting are part of it"),
    "ttft": ("TTFT", "from the scheduled time to the first chunk with text"),
    "itl": ("ITL", "between two chunks with text, inside an answer"),
}
METHOD = (
    "95 % intervals: Wilson's for shares, which takes prompts as independent; for the rest by blocks of time, because "
    "requests that run side by side share the server's steps."
)

AGAINST_FIRST = (
    "(1.20x [1.1x, 1.3x]) is the ratio to the first file, with its interval: of these two runs, not of what another "
    "start of either server would give."
)


def problems(summaries: Sequence[Summary]) -> list[str]:
    """What makes the figures less than they seem."""
    lines = differences(summaries)
    for each in summaries:
        spoiled = {"torn": each.torn, "foreign": each.foreign}
        counts = " and ".join(f"{count} {kind}" for kind, count in spoiled.items() if count)
        if counts:
            lines.append(f"{each.path}: {counts} line{'s' * (each.torn + each.foreign > 1)} left out")
        if each.twice:
            lines.append(f"{each.path}: {each.twice} records are of a line that has one already; all are counted")
        if not each.records:
            lines.append(f"{each.path} holds no record")
    return lines


def sections(summaries: Sequence[Summary]) -> list[Section]:
    """The whole report."""
    columns = ["", *_names(summaries), "what it is"]
    sections = [Section("Figures", columns, list(_figures(summaries)), (0, len(summaries) + 1))]
    for each in summaries:
        named = f" in {each.path}" if len(summaries) > 1 else ""
        if each.faults:
            rows = [
                [f.error_type, number(f.count), str(f.status_code or NONE), f.example_id, f.error_msg]
                for f in each.top_faults
            ]
            title = f"Most frequent failures{named} ({len(each.faults)} kind{'s' * (len(each.faults) > 1)})"
            sections.append(Section(title, ["class", "count", "status", "first id", "message"], rows, (0, 3, 4)))
        if each.slowest:
            sections.append(Section(f"Slowest answers{named}", *_slowest(each), (0, 5)))
    return sections


def _names(summaries: Sequence[Summary]) -> list[str]:
    """The files by their names, which take less room than their paths; by their paths where two have one name."""
    names = [each.path.name for each in summaries]
    return names if len(set(names)) == len(names) else [str(each.path) for each in summaries]


def notes(summaries: Sequence[Summary]) -> list[str]:
    """How to read it."""
    lines = [METHOD, *map(_blocks, summaries)]
    lines.append("Times are of prompts that were answered.")
    if len(summaries) > 1:
        lines += [AGAINST_FIRST, *(line for each in summaries[1:] if (line := _same_prompts(each, summaries[0])))]
    lines += [f"{each.path.name}: {again.sentence()}." for each in summaries if (again := each.occasions.repeats())]
    if any((each.tokens_per_chunk or 0) > 1.05 for each in summaries):
        lines.append("Chunks carry more than one token here: ITL is a time between chunks, not between tokens.")
    return lines


def _same_prompts(each: Summary, first: Summary) -> str | None:
    """What the prefix cache can have done where a file's prompts are those of the first."""
    if not (count := each.occasions.in_common(first.occasions)):
        return None
    shares = f"{percent(each.cached_share)} of the prompt tokens cached, {percent(first.cached_share)} in the first"
    shares = NOT_COUNTED if each.cached_share is None else shares
    return (
        f"{each.path.name}: {count:,} prompts are those of {first.path.name}: if one server had both, its prefix cache "
        f"may have helped the later: {shares}."
    )


def _blocks(each: Summary) -> str:
    """What the intervals of a file stand on."""
    blocks = each.blocks
    if blocks.count:
        return f"{each.path.name}: {blocks.count} blocks of {seconds(blocks.seconds / blocks.count)}."
    if not each.ok:
        return f"{each.path.name}: no answers, no intervals."
    return (
        f"{each.path.name}: ends are open: a run has to last {seconds(blocks.needed_s)} here ({FEWEST} blocks of two "
        f"latencies), this one lasted {seconds(blocks.seconds)}."
    )


def _slowest(each: Summary) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            one.id,
            seconds(one.latency_s),
            seconds(one.ttft_s),
            number(one.completion_tokens),
            number(one.attempts),
            one.text,
        ]
        for one in each.slowest_first
    ]
    return ["id", "latency", "TTFT", "tokens", "attempts", "text begins"], rows


def _figures(summaries: Sequence[Summary]) -> Iterator[list[str]]:
    def row(title: str, cell: Callable[[Summary], str], meaning: str) -> list[str]:
        return [title, *(cell(each) for each in summaries), meaning]

    yield row("batch", lambda each: "; ".join(sorted(each.described)) or NONE, "model, endpoint")
    yield row("prompts", lambda each: f"{each.ok:,} of {each.records:,}", "answered, of those with a record")
    yield row("answered", lambda each: _estimate(each.success, percent), "share, with its interval")
    yield row("failed", _failed, "by class")
    yield row("sent again", lambda each: f"{each.retried:,} ({each.further_attempts:,})", "prompts (further attempts)")
    yield row("ran", _ran, "first start to last end, pauses between starts left out")
    yield row("throughput", _cell(lambda each: each.answers_s, _rate(" /s"), summaries), "answers a second")
    yield row("tokens out", _token_cell(lambda each: each.tokens_out_s, summaries), "as the server counts")
    yield row("tokens in", _token_cell(lambda each: each.tokens_in_s, summaries), "as the server counts")
    yield row("cached tokens", _cached, "of the prompts' tokens, found in the server's prefix cache, as it counts")
    for key in TIMES:
        if any(each.times[key] for each in summaries):
            yield from _time_rows(key, summaries)
    normalized = _cell(lambda each: each.normalized_s, seconds, summaries)
    yield row("normalized latency", normalized, "per token: mean of latency / output tokens")
    yield row("sent late", lambda each: seconds(each.sent_late_s), "at most, by our client; part of the latency")


def _cell(
    figure: Callable[[Summary], Estimate | None], text: Callable[[float | None], str], summaries: Sequence[Summary]
) -> Callable[[Summary], str]:
    """A cell of a figure with its interval and its ratio to the first file's."""
    first = summaries[0]
    return lambda each: _estimate(figure(each), text) + ("" if each is first else _times(figure(each), figure(first)))


def _token_cell(figure: Callable[[Summary], Estimate | None], summaries: Sequence[Summary]) -> Callable[[Summary], str]:
    """A rate of tokens; where the server counted them in a part of the answers only, of how many."""
    rate = _cell(figure, _rate(" tok/s"), summaries)
    return lambda each: rate(each) + (_of_answers(each.counted, each) if each.counted else "")


def _of_answers(counted: int, each: Summary) -> str:
    return "" if counted == each.ok else f"; of {counted:,} answers"


def _time_rows(key: str, summaries: Sequence[Summary]) -> Iterator[list[str]]:
    """Mean, quantiles and range of one kind of latency."""
    title, meaning = TIMES[key]
    figures = {f"{title} mean": _time_cell(key, attrgetter("mean"), summaries)}
    for place, share in enumerate(SHARES):
        figures[f"{title} P{100 * share:g}"] = _time_cell(key, _quantile(place), summaries)
    figures[f"{title} min, max"] = lambda each: _range(each.times[key])
    for name, cell in figures.items():
        yield [name, *(cell(each) for each in summaries), meaning if name.endswith("mean") else ""]


def _quantile(place: int) -> Callable[[Latencies], Estimate]:
    return lambda times: times.quantiles[place]


def _time_cell(
    key: str, figure: Callable[[Latencies], Estimate], summaries: Sequence[Summary]
) -> Callable[[Summary], str]:
    def estimate(each: Summary) -> Estimate | None:
        times = each.times[key]
        return figure(times) if times else None

    return _cell(estimate, seconds, summaries)


def _range(times: Latencies | None) -> str:
    return f"{seconds(times.least)}, {seconds(times.greatest)}" if times else NONE


def _rate(unit: str) -> Callable[[float | None], str]:
    """A rate as text; an open end has no unit."""
    return lambda value: number(value, unit if value is not None else "")


def _estimate(figure: Estimate | None, text: Callable[[float | None], str]) -> str:
    """`1.2 s [1.1 s, 1.4 s]`; an open end is a dash."""
    return NONE if figure is None else f"{text(figure.value)} [{text(figure.low)}, {text(figure.high)}]"


def _times(mine: Estimate | None, first: Estimate | None) -> str:
    """` (1.20x [1.1x, 1.3x])`."""
    times = ratio(mine, first) if mine and first else None
    return f" ({_estimate(times, _factor)})" if times else ""


def _factor(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}x"


def _failed(each: Summary) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in each.by_class.items())
    return f"{each.failed:,} ({kinds})" if kinds else "0"


def _cached(each: Summary) -> str:
    if not each.cached_counted:
        return NONE
    share = percent(each.cached_share)
    return f"{number(each.cached_tokens)} ({share}){_of_answers(each.cached_counted, each)}"


def _ran(each: Summary) -> str:
    return seconds(each.seconds) + (f" in {each.starts} starts" if each.starts > 1 else "")
