"""The pages of `notes/tables/`: Markdown and charts out of the figures that stand beside them as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from notes.tables import charts
from notes.tables.story import BudgetTable, CellMean, Story, SweepCell, SweepTable, Versions
from notes.translation.labels import IN_ENGLISH, Labels
from probes import markdown
from probes.console import percent

HEADINGS = {
    "output_tok_s": "out tok/s",
    "ttft_s_p50": "TTFT p50 s",
    "tpot_s_p50": "TPOT p50 s",
    "latency_s_p50": "latency p50 s",
}
SHORT = {"prefix_caching": "caching", "cache_state": "cache"}
LARGEST = 12  # parts of a request's budget that are drawn; the table has all
COUNT = "Over {requests} requests; the parts of one request add up to its latency, medians need not."
PARTS = ("part", "median ms", "p95 ms", "share of all latency")
INTERVALS = "Bars: 95 % t-interval over a cell's trials. Lines stand a little apart to be seen."
WHISKERS = "Bars: median over the requests; whisker: to the 95th percentile over the requests."


def page(story: Story, say: Labels = IN_ENGLISH) -> str:
    """A story's Markdown: what made it, what to beware of, the chart, the table."""
    origin, machine = story.origin, story.origin.machine
    gpus = f", {', '.join(machine.gpus)}" if machine.gpus else say(", no GPU")
    memory = say("memory n/a") if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.0f} GiB"
    title = say.phrase(origin.title)
    lines = [
        f"# {title}",
        "",
        say("- Command: `{command}`", command=origin.command),
        say(
            "- Machine: {cpu}, {cores} cores, {memory}",
            cpu=machine.cpu_model,
            cores=machine.cores_usable,
            memory=memory,
        )
        + gpus,
        say("- Versions: {software}", software=_software(origin.versions)),
        say("- Date: {date}; state: {state}", date=origin.date, state=origin.state),
        "",
        say.phrase(origin.caution),
        "",
        f"![{title}]({origin.name}.svg)",
        "",
        *(_sweep_table(story, say) if isinstance(story, SweepTable) else _budget_table(story, say)),
    ]
    return "\n".join(lines) + "\n"


def _software(versions: Versions) -> str:
    git = f" ({versions.git_hash[:10]}{', with changes' if versions.git_dirty else ''})" if versions.git_hash else ""
    return (
        f"vLLM {versions.vllm} ({versions.vllm_distribution}), torch {versions.torch}, transformers "
        f"{versions.transformers}, Python {versions.python}, enginescope {versions.enginescope}{git}"
    )


def _sweep_table(story: SweepTable, say: Labels) -> list[str]:
    complete = [cell for cell in story.cells if cell.status == "ok"]
    left_out = [cell for cell in story.cells if cell.status != "ok"]
    body = [[*cell.axes.values(), cell.trials, *(_mean(cell.means[name]) for name in HEADINGS)] for cell in complete]
    lines = [
        say("Mean over trials, with its 95 % t-interval."),
        "",
        *_table([*story.axes, "trials", *HEADINGS.values()], body),
    ]
    if left_out:
        reasons = [[*cell.axes.values(), cell.status, cell.reason] for cell in left_out]
        lines += ["", say("## Not drawn"), "", *_table([*story.axes, "status", "reason"], reasons)]
    return lines


def _budget_table(story: BudgetTable, say: Labels) -> list[str]:
    body = [
        [row.stage, f"{row.median_ns / 1e6:.3f}", f"{row.p95_ns / 1e6:.3f}", percent(row.share)] for row in story.rows
    ]
    return [say(COUNT, requests=story.requests), "", *_table([say(heading) for heading in PARTS], body)]


def _mean(cell: CellMean | None) -> str:
    if cell is None:
        return "n/a"
    return f"{cell.mean:.4g} (n=1)" if cell.low is None else f"{cell.mean:.4g} [{cell.low:.4g}, {cell.high:.4g}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return markdown.table([heading.replace("_", " ") for heading in headings], rows)


def chart(story: Story) -> str:
    """A story's chart as SVG."""
    return _sweep_chart(story) if isinstance(story, SweepTable) else _budget_chart(story)


def _sweep_chart(story: SweepTable) -> str:
    panels: dict[str, dict[str, list[charts.Point]]] = {}
    for cell in story.cells:
        throughput = cell.means["output_tok_s"]
        if cell.status == "ok" and throughput is not None:
            line = panels.setdefault(f"block size {cell.axes['block_size']}", {}).setdefault(_line(story, cell), [])
            batch_size = float(cell.axes["batch_size"])
            line.append(charts.Point(batch_size, throughput.mean, throughput.low, throughput.high))
    return charts.lines(panels, "batch size (log scale)", "output tok/s", INTERVALS)


def _budget_chart(story: BudgetTable) -> str:
    parts = [row for row in story.rows if row.stage != "unexplained"]
    rows = parts[:LARGEST] + [row for row in story.rows if row.stage == "unexplained"]
    bars = [
        (row.stage, row.median_ns / 1e6, row.p95_ns / 1e6, f"{_ms(row.median_ns)} ms, {row.share:.1%}") for row in rows
    ]
    note = f"The {min(LARGEST, len(parts))} largest of {len(parts)} parts, and what none explains."
    return charts.bars(
        bars, f"time of a request, ms ({story.requests} requests)", f"{WHISKERS} %: of all latency. {note}"
    )


def _ms(time_ns: float) -> str:
    return f"{time_ns / 1e6:.0f}" if time_ns >= 1e8 else f"{time_ns / 1e6:.3g}"


def _line(story: SweepTable, cell: SweepCell) -> str:
    """A line's name: the cache, and every other axis on which cells differ."""
    varied = [axis for axis in story.axes if len({each.axes[axis] for each in story.cells}) > 1]
    names = [*SHORT, *(axis for axis in varied if axis not in ("batch_size", "block_size", *SHORT))]
    return ", ".join(f"{SHORT.get(axis, axis)} {cell.axes[axis]}" for axis in names)


def overview(stories: Sequence[Story]) -> str:
    """The list of all tables."""
    origins = [story.origin for story in stories]
    rows = [
        [
            f"[{origin.title}]({origin.name}.md)",
            origin.date,
            origin.versions.vllm,
            origin.machine.cpu_model,
            f"`{origin.command}`",
        ]
        for origin in origins
    ]
    about = "Real runs of this project's commands, each with what made it; `make tables` makes them anew."
    return "\n".join(["# Tables", "", about, "", *_table(["table", "date", "vLLM", "machine", "command"], rows)]) + "\n"
