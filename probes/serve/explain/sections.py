"""What a log tells, as tables and sentences: the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from probes.console import Section, percent
from probes.serve.explain.durations import Durations
from probes.serve.explain.explainedlog import ExplainedLog
from probes.serve.explain.load import Load, LoadWindow
from probes.serve.explain.loggedsteps import KINDS, SLOW, LoggedSteps
from probes.serve.explain.startup import Start, Took
from probes.serve.faults.errors import SHOWN_WIDTH

NONE = "-"
SLOW_SHOWN = 10
WINDOWS_SHOWN = 12
UNEVEN = 1.1  # ranks whose times differ by more are named
STEP_NOTE = (
    "A step's elapsed time is how long the engine core waited for its result: scheduling before it and the work on its "
    "output are not in it, nor, with async scheduling, what ran before the wait began. Medians and P99 are good to "
    "three figures. Batch sizes are requests, counted up to 1, 2, 4, 8, …"
)
LOAD_NOTE = (
    "Throughput is the mean of a window, requests and KV use the most that a line of it says; vLLM logs no line while "
    "nothing runs. The hit rate is over the last 1,000 requests, by vLLM's own count."
)


def verdict_lines(explained: ExplainedLog) -> Iterator[str]:
    """How it ended, the likely cause and what to do, and the log's own last errors."""
    yield f"the server: {explained.end}"
    if explained.start.ready and not explained.ended_badly:
        return
    errors = explained.errors
    for line in errors.shown():
        yield f"  | {line}"
    if cause := explained.cause():
        yield f"likely cause: {cause.cause}"
        yield f"try: {cause.remedy}"
    elif errors.root:
        yield f"likely cause: not one of the causes known here; it began with: {errors.root[:SHOWN_WIDTH]}"
    elif explained.ended_badly:
        yield "likely cause: not one of the causes known here"


def about(explained: ExplainedLog) -> str:
    """The log in a line: its length, its starts, its span."""
    start = explained.start
    parts = [f"{explained.lines:,} line{'' if explained.lines == 1 else 's'}"]
    if explained.starts > 1:
        parts.append(f"{explained.starts} starts, of which the last is told here; steps and load are of all")
    if start.first_s is not None and start.last_s is not None:
        parts.append(f"the last start from {clock(start.first_s)} to {clock(start.last_s)}")
    return "; ".join([*parts, *(f"{name} {value}" for name, value in start.facts.items())])


def sections(explained: ExplainedLog) -> Iterator[Section]:
    """The tables, those without a row left out."""
    steps = explained.steps
    for section in (
        startup(explained.start),
        step_kinds(steps),
        decode_by_batch(steps),
        slow_steps(steps),
        load_over_time(explained.load, WINDOWS_SHOWN),
        request_lines(explained),
    ):
        if section.rows:
            yield section


def notes(explained: ExplainedLog) -> Iterator[str]:
    """What the figures are and are not."""
    if explained.start.took():
        yield (
            "Times of the start that no line states are between two lines, whose time is good to a second; imports "
            "before the first line are not in a log."
        )
    if explained.steps.count:
        yield STEP_NOTE
    if explained.load.lines:
        yield LOAD_NOTE


def startup(start: Start) -> Section:
    """The phases of the start; without times in the log, only those that lines state."""
    rows = [[took.name, _after(took), f"{took.took_s:,.1f} s", _by(took)] for took in start.took()]
    if start.ready_s is not None and start.first_s is not None:
        rows.append(["until it answered", "0 s", f"{start.ready_s - start.first_s:,.1f} s", "between lines"])
    return Section("Start", ["phase", "from", "took", "as told by"], rows, (0, 3))


def step_kinds(steps: LoggedSteps) -> Section:
    """Steps by engine and kind."""
    columns = ["engine", "kind", "steps", "tokens", "median", "P99", "greatest", "together"]
    rows = []
    for engine, kind in sorted(steps.by_kind, key=lambda key: (key[0], KINDS.index(key[1]))):
        each = steps.by_kind[engine, kind]
        tokens = f"{steps.tokens[engine, kind]:,}"
        rows.append([str(engine), kind, f"{each.count:,}", tokens, *_quantiles(each), f"{each.total / 1e3:,.1f} s"])
    return Section("Steps", columns, rows, (0, 1))


def decode_by_batch(steps: LoggedSteps) -> Section:
    """A decode step's time by batch size, over all engines."""
    columns = ["requests", "decode steps", "median", "P99", "greatest", "tok/s at the median"]
    rows = []
    for most in sorted(most for kind, most in steps.by_batch if kind == "decode"):
        each = steps.by_batch["decode", most]
        least, median = most // 2 + 1, each.quantile(0.5)
        tok_s = f"{1e3 * least / median:,.0f}" if median else NONE
        rows.append(
            [_range(least, most), f"{each.count:,}", *_quantiles(each), tok_s if least == most else f"≥ {tok_s}"]
        )
    return Section("Decode steps by batch size", columns, rows)


def slow_steps(steps: LoggedSteps) -> Section:
    """The steps that took much longer than others of their kind and batch size."""
    columns = ["at", "engine", "iteration", "kind", "requests", "tokens", "elapsed", "times the median"]
    rows = [
        [
            clock(step.time_s),
            str(step.engine),
            str(step.iteration),
            step.kind,
            str(step.requests),
            str(step.context_tokens + step.generation_tokens),
            milliseconds(step.elapsed_ms),
            f"{factor:.1f}",
        ]
        for step, factor in steps.slow()[:SLOW_SHOWN]
    ]
    title = f"Slow steps: {steps.slow_count():,} took over {SLOW} times the median of their kind and batch size"
    return Section(title, columns, rows, (0, 3))


def load_over_time(load: Load, most: int) -> Section:
    """The periodic lines in at most so many windows."""
    columns = ["from", "prompt tok/s", "generated tok/s", "running", "waiting", "KV use", "hit rate", "preemptions"]
    rows = [_window(each) for each in load.windows(most)]
    return Section("Load over time", columns, rows)


def request_lines(explained: ExplainedLog) -> Section:
    """Counts of request lines and of HTTP answers."""
    requests = explained.requests
    rows = [[f"requests {kind}", f"{count:,}"] for kind, count in requests.lines.most_common()]
    rows += [[f"{path} {status}", f"{count:,}"] for (path, status), count in requests.http.most_common()]
    return Section("Requests", ["line", "count"], rows)


def clock(time_s: float) -> str:
    """A line's time as it stands in the log, without the year; `-` for 0, of lines without one."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%m-%d %H:%M:%S") if time_s else NONE


def milliseconds(value_ms: float) -> str:
    """Milliseconds as text in a unit that fits."""
    return f"{value_ms:.3g} ms" if value_ms < 999.5 else f"{value_ms / 1e3:,.2f} s"


def _quantiles(each: Durations) -> list[str]:
    return [milliseconds(value) for value in (each.quantile(0.5), each.quantile(0.99), each.greatest)]


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} to {most}"


def _after(took: Took) -> str:
    return NONE if took.began_s is None else f"{took.began_s:,.0f} s"


def _by(took: Took) -> str:
    if not took.stated:
        return "between lines"
    slowest = took.fastest_s is not None and took.took_s > UNEVEN * took.fastest_s
    uneven = f", the slowest {took.slowest}, the fastest {took.fastest_s:,.1f} s" if slowest else ""
    return f"{took.stated} process{'es' * (took.stated > 1)}{uneven}"


def _window(each: LoadWindow) -> list[str]:
    rates = [f"{each.prompt_tok_s:,.1f}", f"{each.generation_tok_s:,.1f}", str(each.running), str(each.waiting)]
    hits = NONE if each.hit_rate is None else percent(each.hit_rate)
    return [clock(each.begins_s), *rates, percent(each.kv_use), hits, str(each.preemptions)]
