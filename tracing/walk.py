"""The life of one request, from its call to its last output: every place it passed, with the time and the source."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main, usage_error

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.text import Text

    from tracing.source.definitions import Place
    from tracing.source.tree import SourceTree
    from tracing.timeline.index import Index
    from tracing.timeline.requests import Flow
    from tracing.timeline.spans import Timeline

EXAMPLES = """examples:
  python -m tracing.walk traces/<folder>                          the request of median length
  python -m tracing.walk traces/<folder> --request slowest
  python -m tracing.walk traces/<folder> --request demo-2 | less -R
"""
GAP = 2  # columns between the parts of a line
BELOW = "\n" + 5 * " "  # what does not fit into a line begins below its times
SHOWN_STEPS = 2  # of a run of like steps, shown one by one: the first, and the first decode after it


@dataclass
class PassedSite:
    """One place that the request passed; `times` calls of it in a row are one."""

    start_ns: int
    ns: int
    role: str
    stage: str
    site: str
    wait: bool
    times: int = 1


def parser() -> argparse.ArgumentParser:
    arguments = CommandParser(
        prog="python -m tracing.walk",
        description="A walk through vLLM's source along one real request of a trace.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("folder", type=Path, metavar="DIR", help="a trace folder")
    arguments.add_argument(
        "--request", default="median", metavar="ID", help="a request id, or median, slowest or first (default: median)"
    )
    arguments.add_argument("--vllm", type=Path, metavar="PATH", help="vLLM's source (default: the installed one)")
    return arguments


def main() -> int:
    """The command."""
    args = parser().parse_args()
    from probes.console import console
    from tracing import timeline
    from tracing.source.tree import SourceTree
    from tracing.timeline.index import Index
    from tracing.timeline.requests import flows

    trace = timeline.read(args.folder)
    flow = choose(flows(Index(trace)), args.request)
    walk(trace, flow, SourceTree.find(args.vllm), console())
    return 0


def choose(flows: list[Flow], name: str) -> Flow:
    """The flow that `--request` names: by internal or external id, or by its length among the whole ones."""
    if not flows:
        raise EnginescopeError("this trace has no request; record a command that sends some")
    for flow in flows:
        if name in (flow.request, flow.external):
            return flow
    by_length = sorted((flow for flow in flows if flow.is_whole), key=lambda flow: flow.latency_ns) or flows
    places = {"median": len(by_length) // 2, "slowest": -1}
    if name in places:
        return by_length[places[name]]
    if name == "first":
        return flows[0]
    from difflib import get_close_matches

    near = get_close_matches(name, [each for flow in flows for each in (flow.request, flow.external)], 1)
    there = f"did you mean {near[0]!r}?" if near else f"the first of {len(flows):,} is {flows[0].request!r}"
    raise usage_error(f"no request {name!r} in this trace; {there}")


def own_spans(index: Index, flow: Flow) -> pd.DataFrame:
    """The spans that a request passed in its time, by start, without those that only enclose others."""
    from tracing.sites.site import ENCLOSING
    from tracing.timeline.requestspans import own_rows

    spans = index.timeline.spans.iloc[own_rows(index, flow)]
    spans = spans[spans["start_ns"].between(flow.start_ns, flow.end_ns)]
    return spans[~spans["share"].isin(ENCLOSING) & (spans["site"] != "gc")]


def stops(spans: pd.DataFrame) -> Iterator[PassedSite]:
    """The spans as stops; calls of one site in a row are one stop."""
    last: PassedSite | None = None
    for row in spans.itertuples(index=False):
        took = int(row.end_ns - row.start_ns)
        site = str(row.site)
        if last is not None and last.site == site:
            last.times += 1
            last.ns += took
            continue
        if last is not None:
            yield last
        last = PassedSite(int(row.start_ns), took, str(row.role), str(row.stage), site, row.share == "wait")
    if last is not None:
        yield last


def chapters(timeline: Timeline, flow: Flow) -> Iterator[tuple[str, list[PassedSite]]]:
    """The walk in parts: the way in, its first step, its first decode step, what is folded, and the way out."""
    from tracing.timeline.index import Index

    spans = own_spans(Index(timeline), flow)
    schedules = spans[spans["site"] == "scheduler.schedule"].drop_duplicates("step").sort_values("start_ns")
    starts = schedules["start_ns"].tolist()
    if not starts:
        yield "the whole of it", list(stops(spans))
        return
    updates = spans[(spans["site"] == "scheduler.update")]["end_ns"]
    last_update = int(updates.max()) if len(updates) else flow.end_ns
    edges = [flow.start_ns, *starts, last_update, flow.end_ns + 1]
    yield "the way in", _between(spans, edges[0], starts[0])
    for index in range(min(SHOWN_STEPS, len(starts))):
        until = starts[index + 1] if index + 1 < len(starts) else last_update
        words = "the first step: prefill" if index == 0 else "the next step: decode"
        yield words, _between(spans, starts[index], until)
    folded = starts[SHOWN_STEPS:]
    if folded:
        lengths = sorted(b - a for a, b in zip(folded, [*folded[1:], last_update], strict=True))
        middle = lengths[len(lengths) // 2] / 1e6
        yield f"{len(folded)} more steps like that, {middle:.2f} ms each at the median", []
    yield "the way out", _between(spans, last_update, flow.end_ns + 1)


def _between(spans: pd.DataFrame, start: int, end: int) -> list[PassedSite]:
    return list(stops(spans[(spans["start_ns"] >= start) & (spans["start_ns"] < end)]))


def walk(timeline: Timeline, flow: Flow, tree: SourceTree, out: Console) -> None:
    """Print the walk; a site's source is shown where it is passed first."""
    from rich.text import Text

    from probes.console import show, us

    tokens = flow.output_tokens
    counts = f"{flow.prompt_tokens} prompt tokens, {tokens} generated"
    if flow.delivered_tokens != tokens:
        counts += f", {flow.delivered_tokens} delivered"
    show(out, Text(f"request {flow.request}: {flow.state}, {counts}", "bold"))
    show(out, Text(f"{us(flow.latency_ns)} from the call to the last output; vLLM {tree.version}", "dim"))
    sites: set[str] = set()
    number = 0
    for title, part in chapters(timeline, flow):
        out.print()
        show(out, Text(f"── {title}", "bold"))
        for stop in part:
            number += 1
            place = _place(stop.site, tree)
            show(out, _line(number, stop, flow, place, out.width))
            if place is not None and stop.site not in sites:
                _show_source(place, out)
            sites.add(stop.site)


def _line(number: int, stop: PassedSite, flow: Flow, place: Place | None, width: int) -> Text:
    """A stop: when, how long, where in the engine and where in the source; what does not fit goes below."""
    from rich.text import Text

    from probes.console import us

    times = f" x{stop.times}" if stop.times > 1 else ""
    line = Text.assemble(
        f"{number:>3}  ",
        (f"+{us(stop.start_ns - flow.start_ns):>12}", "dim"),
        f"  {us(stop.ns):>11}  {stop.role:11} ",
        (stop.stage + times, "yellow" if stop.wait else "cyan"),
    )
    room = width - line.cell_len
    for word in (stop.site, place.where if place is not None else ""):
        fits = GAP + len(word) <= room
        line.append(f"{' ' * GAP if fits else BELOW}{word}", "dim")
        room = (room if fits else width) - len(word) - (GAP if fits else len(BELOW) - 1)
    return line


def _place(site: str, tree: SourceTree) -> Place | None:
    """Where a site is in this tree: the first of its targets that is there."""
    from tracing.sites.engine import SITES
    from tracing.source.definitions import Place

    targets = next((known.targets for known in SITES if known.name == site and known.kind != "model"), ())
    places = (tree.resolve(target) for target in targets)
    return next((place for place in places if isinstance(place, Place)), None)


def _show_source(place: Place, out: Console) -> None:
    from rich.padding import Padding
    from rich.syntax import Syntax

    from probes.console import show
    from tracing.source.excerpt import excerpt

    for lines in excerpt(place):
        if lines:
            code = "\n".join(text for _, text in lines)
            syntax = Syntax(
                code, "python", line_numbers=True, start_line=lines[0][0], background_color="default", word_wrap=True
            )
            show(out, Padding(syntax, (0, 0, 0, len(BELOW))))


if __name__ == "__main__":
    run_main(main)
