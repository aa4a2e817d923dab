"""What a log tells, as one page that works from disk; what came from the log is text and never markup."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from probes import htmlpage
from probes.console import Section, printable
from probes.htmlpage import PageSection
from probes.serve.explain.chart import STYLE, Line, line_chart
from probes.serve.explain.explainedlog import ExplainedLog
from probes.serve.explain.load import Load
from probes.serve.explain.loggedsteps import LoggedSteps
from probes.serve.explain.sections import about, clock, notes, sections, verdict_lines

CHARTED_LEAST = 2  # a line needs two points


def explained_page(explained: ExplainedLog, name: str) -> str:
    """The page of a log called `name`."""
    lines = [printable(line) for line in verdict_lines(explained)]
    ended = lines if explained.ended_badly else []
    first = about(explained) if ended else f"{about(explained)}; {lines[0]}"
    parts = [
        *_charts(explained),
        *(PageSection(printable(each.title), "", _table(each)) for each in sections(explained)),
    ]
    return htmlpage.page(
        f"Log of a server: {printable(name)}",
        parts,
        about=printable(first),
        problems=ended,
        notes=list(notes(explained)),
        style=STYLE,
    )


def _charts(explained: ExplainedLog) -> Iterator[PageSection]:
    if chart := _decode_chart(explained.steps):
        yield PageSection("A decode step's time by batch size", "Up to so many requests in the batch.", chart)
    windows = explained.load.windows()
    if len(windows) >= CHARTED_LEAST:
        yield PageSection("Throughput", "", _throughput_chart(explained.load))
        yield PageSection("KV cache in use and prefix-cache hits", "", _share_chart(explained.load))


def _decode_chart(steps: LoggedSteps) -> Markup | None:
    sizes = sorted(most for kind, most in steps.by_batch if kind == "decode")
    if len(sizes) < CHARTED_LEAST:
        return None
    found = [steps.by_batch["decode", most] for most in sizes]
    lines = [Line(name, [each.quantile(share) for each in found]) for name, share in (("median", 0.5), ("P99", 0.99))]
    return line_chart([str(most) for most in sizes], lines, "ms")


def _throughput_chart(load: Load) -> Markup:
    windows = load.windows()
    generated = Line("generated", [each.generation_tok_s for each in windows])
    prompts = Line("prompt", [each.prompt_tok_s for each in windows])
    return line_chart([clock(each.begins_s) for each in windows], [generated, prompts], "tok/s")


def _share_chart(load: Load) -> Markup:
    windows = load.windows()
    kv_use = Line("KV cache in use", [100 * each.kv_use for each in windows])
    hits = Line("hit rate", [None if each.hit_rate is None else 100 * each.hit_rate for each in windows])
    return line_chart([clock(each.begins_s) for each in windows], [kv_use, hits], "%")


def _table(section: Section) -> Markup:
    columns, *rows = ([*map(printable, row)] for row in (section.columns, *section.rows))
    return htmlpage.table(columns, rows, text=section.text)
