"""The pages of `notes/tables/`: Markdown and charts out of the figures that stand beside them as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from notes.tables import charts

# A sweep's figures: its column, and heading; each has an interval in `_lo` and `_hi`.
FIGURES = {
    "output_tok_s": "out tok/s",
    "ttft_s_p50": "TTFT p50 s",
    "tpot_s_p50": "TPOT p50 s",
    "latency_s_p50": "latency p50 s",
}
SHORT = {"prefix_caching": "caching", "cache_state": "cache"}
DRAWN = 12  # parts of a request's budget; the table has all
INTERVALS = "Bars: 95 % t-interval over a cell's trials. Lines stand a little apart to be seen."
WHISKERS = "Bars: median over the requests; whisker: to the 95th percentile over the requests."

Story = dict[str, Any]  # what a page tells, and its JSON file holds


def page(told: Story) -> str:
    """A story's Markdown: what made it, what to beware of, the chart, the table."""
    machine, of = told["machine"], told["versions"]
    git = f" ({of['git_hash'][:10]}{', with changes' if of['git_dirty'] else ''})" if of["git_hash"] else ""
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    lines = [
        f"# {told['title']}",
        "",
        f"- Command: `{told['command']}`",
        f"- Machine: {machine['cpu_model']}, {machine['cores_usable']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB{gpus}",
        f"- Versions: vLLM {of['vllm']} ({of['vllm_distribution']}), torch {of['torch']}, transformers "
        f"{of['transformers']}, Python {of['python']}, enginescope {of['enginescope']}{git}",
        f"- Date: {told['date']}; state: {told['state']}",
        "",
        told["caution"],
        "",
        f"![{told['title']}]({told['name']}.svg)",
        "",
        *(_sweep_table(told) if told["kind"] == "sweep" else _budget_table(told)),
    ]
    return "\n".join(lines) + "\n"


def _sweep_table(told: Story) -> list[str]:
    axes, rows = told["axes"], told["rows"]
    measured = [row for row in rows if row["status"] == "ok"]
    left_out = [row for row in rows if row["status"] != "ok"]
    body = [
        [*(row[axis] for axis in axes), row["trials"], *(_figure(row, name) for name in FIGURES)] for row in measured
    ]
    made = ["Mean over trials, with its 95 % t-interval.", "", *_table([*axes, "trials", *FIGURES.values()], body)]
    if left_out:
        reasons = [[*(row[axis] for axis in axes), row["status"], row["reason"]] for row in left_out]
        made += ["", "## Not drawn", "", *_table([*axes, "status", "reason"], reasons)]
    return made


def _budget_table(told: Story) -> list[str]:
    body = [
        [row["stage"], f"{row['median_ns'] / 1e6:.3f}", f"{row['p95_ns'] / 1e6:.3f}", f"{row['share']:.2%}"]
        for row in told["rows"]
    ]
    count = f"Over {told['requests']} requests; the parts of one request add up to its latency, medians need not."
    return [count, "", *_table(["part", "median ms", "p95 ms", "share of all latency"], body)]


def _figure(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "n/a"
    low, high = row[f"{name}_lo"], row[f"{name}_hi"]
    return f"{row[name]:.4g} (n=1)" if low is None else f"{row[name]:.4g} [{low:.4g}, {high:.4g}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    words = [[str(word).replace("|", "\\|").replace("\n", " ") for word in row] for row in rows]
    return [
        "| " + " | ".join(row) + " |"
        for row in ([h.replace("_", " ") for h in headings], ["---"] * len(headings), *words)
    ]


def chart(told: Story) -> str:
    """A story's chart as SVG."""
    if told["kind"] == "trace":
        return _budget_chart(told)
    panels: dict[str, dict[str, list[charts.Point]]] = {}
    for row in told["rows"]:
        if row["status"] == "ok" and row["output_tok_s"] is not None:
            ends = [row[f"output_tok_s{end}"] for end in ("", "_lo", "_hi")]
            line = panels.setdefault(f"block size {row['block_size']}", {}).setdefault(_line(told, row), [])
            line.append(charts.Point(float(row["batch_size"]), *ends))
    return charts.lines(panels, "batch size (log scale)", "output tok/s", INTERVALS)


def _budget_chart(told: Story) -> str:
    parts = [row for row in told["rows"] if row["stage"] != "unexplained"]
    rows = parts[:DRAWN] + [row for row in told["rows"] if row["stage"] == "unexplained"]
    shown = [
        (row["stage"], row["median_ns"] / 1e6, row["p95_ns"] / 1e6, f"{_ms(row['median_ns'])} ms, {row['share']:.1%}")
        for row in rows
    ]
    drawn = f"The {min(DRAWN, len(parts))} largest of {len(parts)} parts, and what none explains."
    return charts.bars(
        shown, f"time of a request, ms ({told['requests']} requests)", f"{WHISKERS} %: of all latency. {drawn}"
    )


def _ms(time_ns: float) -> str:
    return f"{time_ns / 1e6:.0f}" if time_ns >= 1e8 else f"{time_ns / 1e6:.3g}"


def _line(told: Story, row: Mapping[str, Any]) -> str:
    """A line's name: the cache, and every other axis on which cells differ."""
    varied = [axis for axis in told["axes"] if len({each[axis] for each in told["rows"]}) > 1]
    named = [*SHORT, *(axis for axis in varied if axis not in ("batch_size", "block_size", *SHORT))]
    return ", ".join(f"{SHORT.get(axis, axis)} {row[axis]}" for axis in named)


def listed(stories: Sequence[Story]) -> str:
    """The list of all tables."""
    rows = [
        [
            f"[{told['title']}]({told['name']}.md)",
            told["date"],
            told["versions"]["vllm"],
            told["machine"]["cpu_model"],
            f"`{told['command']}`",
        ]
        for told in stories
    ]
    about = "Real runs of this project's commands, each with what made it; `make tables` makes them anew."
    return "\n".join(["# Tables", "", about, "", *_table(["table", "date", "vLLM", "machine", "command"], rows)]) + "\n"
