"""What a log tells, as one page that works from disk; what came from the log is text and never markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from probes import htmlpage
from probes.console import printable
from probes.htmlpage import PageSection
from probes.serve.explain.chart import STYLE, Line, line_chart
from probes.serve.explain.explainedlog import ExplainedLog
from probes.serve.explain.load import LoadWindow
from probes.serve.explain.loggedsteps import LoggedSteps
from probes.serve.explain.sections import about, clock, notes, sections, verdict_lines

CHARTED_LEAST = 2  # a line needs two points


def explained_page(logs: Mapping[str, ExplainedLog], name: str) -> str:
    """The page of a log called `name`, of one container or several."""
    ended = [
        _named(source, logs, line) for source, log in logs.items() if log.ended_badly for line in verdict_lines(log)
    ]
    first = [_named(source, logs, f"{about(log)}; the server: {log.end}") for source, log in logs.items()]
    parts = [part for source, log in logs.items() for part in _parts(log, _named(source, logs, ""))]
    remarks = dict.fromkeys(note for log in logs.values() for note in notes(log))
    return htmlpage.page(
        f"Log of a server: {printable(name)}",
        parts,
        about=". ".join(first),
        problems=ended,
        notes=list(remarks),
        style=STYLE,
    )


def _named(source: str, logs: Mapping[str, ExplainedLog], text: str) -> str:
    """A text with its container before it, where there are several."""
    return printable(f"{source}: {text}" if len(logs) > 1 else text)


def _parts(explained: ExplainedLog, prefix: str) -> Iterator[PageSection]:
    for part in (*_charts(explained), *map(htmlpage.table_section, sections(explained))):
        yield PageSection(f"{prefix}{part.heading}", part.sentence, part.body)


def _charts(explained: ExplainedLog) -> Iterator[PageSection]:
    if chart := _decode_chart(explained.steps):
        yield PageSection("A decode step's time by batch size", "Up to so many requests in the batch.", chart)
    windows = explained.load.windows()
    if len(windows) >= CHARTED_LEAST:
        yield PageSection("Throughput", "", _throughput_chart(windows))
        yield PageSection("KV cache in use and prefix-cache hits", "", _share_chart(windows))


def _decode_chart(steps: LoggedSteps) -> Markup | None:
    sizes = sorted(most for kind, most in steps.by_batch if kind == "decode")
    if len(sizes) < CHARTED_LEAST:
        return None
    times = [steps.by_batch["decode", most] for most in sizes]
    lines = [Line(name, [each.quantile(share) for each in times]) for name, share in (("median", 0.5), ("P99", 0.99))]
    return line_chart([str(most) for most in sizes], lines, "ms")


def _throughput_chart(windows: Sequence[LoadWindow]) -> Markup:
    generated = Line("generated", [each.generation_tok_s for each in windows])
    prompts = Line("prompt", [each.prompt_tok_s for each in windows])
    return line_chart([clock(each.begins_s) for each in windows], [generated, prompts], "tok/s")


def _share_chart(windows: Sequence[LoadWindow]) -> Markup:
    kv_use = Line("KV cache in use", [100 * each.kv_use for each in windows])
    hits = Line("hit rate", [None if each.hit_rate is None else 100 * each.hit_rate for each in windows])
    return line_chart([clock(each.begins_s) for each in windows], [kv_use, hits], "%")
