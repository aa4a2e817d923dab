"""Works what is committed of real traces out of them: what exercises are judged by, and a request of each shape."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from notes.study.recording import COMMANDS, FILE, RecordedSpan, RecordedStories, write
from probes.arguments import CommandParser
from probes.errors import EnginescopeError, run_main
from tracing.shapes.shape import SHAPES
from tracing.sites.engine import SITES

if TYPE_CHECKING:
    import pandas as pd

    from tracing.timeline.index import Index
    from tracing.timeline.requests import Flow

ABORT_SITES = ("async.abort", "output.abort", "client.send_async", "core.receive", "core.abort", "scheduler.free")
EXAMPLES = """examples:
  python -m tracing.record -- python tests/engine/traced/streams.py "$(python -m probes.checkpoint --two-layer)"
  python -m notes.recorded traces/<folder>        writes notes/study/recorded.json from that trace
  python -m tracing.record --out traces/tp2 -- python -m tracing.demo --shape tp2
  python -m notes.recorded traces/tp2 --shape tp2     writes notes/traces/tp2.json.xz from that one
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m notes.recorded",
        description="What is committed of a trace: what the study plan's exercises are judged by or, with --shape, "
        "one request in that shape of the engine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the trace folder of one of these commands")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="the shape of python -m tracing.demo that it records")
    return parser


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.shape:
        from notes.traces import reducing, shapetrace

        print(f"Wrote {shapetrace.write(reducing.reduced(args.folder, args.shape))}")
        return 0
    write(recording(args.folder))
    print(f"Wrote {FILE}")
    return 0


def recording(folder: Path) -> RecordedStories:
    """The two stories of a trace folder that has a request served to its end and one that was left."""
    from tracing import timeline
    from tracing.breakdown.findings import about
    from tracing.timeline.index import Index
    from tracing.timeline.requests import flows
    from tracing.walk import choose

    trace = timeline.read(folder)
    index = Index(trace)
    requests = [flow for flow in flows(index) if flow.front_pid != flow.core_pid]
    left = next((flow for flow in requests if flow.state == "aborted"), None)
    served = [flow for flow in requests if flow.state == "finished" and flow.parent is None]
    if left is None or not served:
        raise EnginescopeError(f"{folder} needs a request that ended and one that was left; record: {COMMANDS[0]}")
    flow = choose(served, "median")
    return RecordedStories(
        about=about(trace),
        prompt_tokens=flow.prompt_tokens,
        roles=_roles(trace.spans),
        first_token=_first_token(index, flow),
        abort=_abort(index, left),
    )


def _first_token(index: Index, flow: Flow) -> tuple[RecordedSpan, ...]:
    """The spans of a request up to the yield of its first output: its own, its first step's, its first message's."""
    from tracing.walk import own_spans

    spans = own_spans(index, flow)
    yields = spans[(spans["site"] == "async.generate") & (spans["value"] == 1)]
    until_ns = int(yields["end_ns"].iloc[0])
    own = spans["request"].notna() | spans["step"].isin((-1, int(flow.steps[0]), int(flow.keys[0])))
    return _story(spans[own & (spans["end_ns"] <= until_ns)], flow.start_ns)


def _abort(index: Index, flow: Flow) -> tuple[RecordedSpan, ...]:
    """The first span of each of the abort's places after the last output that the caller took."""
    import pandas as pd

    spans = index.timeline.spans
    yields = spans[(spans["request"] == flow.external) & (spans["site"] == "async.generate") & (spans["value"] == 1)]
    start_ns = int(yields["end_ns"].iloc[-1])
    after = spans[(spans["start_ns"] >= start_ns) & spans["pid"].isin((flow.front_pid, flow.core_pid))]
    own = (after["site"] != "scheduler.free") | (after["request"] == flow.request)
    firsts = [after[own & (after["site"] == site)].head(1) for site in ABORT_SITES]
    return _story(pd.concat(firsts), start_ns)


def _story(spans: pd.DataFrame, start_ns: int) -> tuple[RecordedSpan, ...]:
    return tuple(
        RecordedSpan(
            place=place(str(row.site)),
            role=str(row.role),
            wait=row.share == "wait",
            start_ns=int(row.start_ns) - start_ns,
            end_ns=int(row.end_ns) - start_ns,
        )
        for row in spans.itertuples(index=False)
    )


def _roles(spans: pd.DataFrame) -> dict[str, str]:
    """The role of each place; those that run in several, or stand for what they load, are left out."""
    by_site = spans.groupby("site", observed=True)["role"].unique()
    roles: dict[str, set[str]] = {}
    for site in SITES:
        if site.kind != "model" and site.name in by_site:
            roles.setdefault(place(site.name), set()).update(map(str, by_site[site.name]))
    return {name: only.pop() for name, only in roles.items() if len(only) == 1}


def place(name: str) -> str:
    """The qualified name of a site's function; the site's own where the function only loads what is timed."""
    site = next(site for site in SITES if site.name == name)
    return name if site.kind == "model" else site.targets[0].partition(":")[2]


if __name__ == "__main__":
    run_main(main)
