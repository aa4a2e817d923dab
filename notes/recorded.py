"""What the study plan's exercises are checked against: two short stories out of a real trace, kept as JSON.

One is the way of a request to its first token, the other what a stream that its caller left set going.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import EnginescopeError, run_main

if TYPE_CHECKING:
    import pandas as pd

    from tracing.timeline.index import Index
    from tracing.timeline.requests import Flow

SCHEMA = 1
FILE = Path(__file__).parent / "study" / "recorded.json"
COMMANDS = (
    "python -m tracing.record -- python tests/engine/traced/streams.py MODEL",
    "python -m notes.recorded traces/<folder>",
)
ABORT_SITES = ("async.abort", "output.abort", "client.send_async", "core.receive", "core.abort", "scheduler.free")
EXAMPLES = """examples:
  python -m tracing.record -- python tests/engine/traced/streams.py "$(python -m probes.checkpoint --two-layer)"
  python -m notes.recorded traces/<folder>        writes notes/study/recorded.json from that trace
"""


def read() -> dict[str, Any]:
    """The committed stories. `first_token` and `abort` are lists of spans by start, each with `place`, `role`, `wait`,
    `start_ns` and `end_ns` since the story began; `roles` has the role of every place that ran in one role only.
    """
    kept: dict[str, Any] = json.loads(FILE.read_text())
    if kept["schema"] != SCHEMA:
        raise EnginescopeError(f"{FILE.name} has schema {kept['schema']}, not {SCHEMA}: make it anew, {COMMANDS[1]}")
    return kept


def stories(folder: Path) -> dict[str, Any]:
    """The two stories of a trace folder that has a request served to its end and one that was left."""
    from tracing import timeline
    from tracing.breakdown.findings import about
    from tracing.timeline.index import Index
    from tracing.timeline.requests import flows
    from tracing.walk import chosen

    found = timeline.read(folder)
    index = Index(found)
    requests = [flow for flow in flows(index) if flow.front_pid != flow.core_pid]
    left = next((flow for flow in requests if flow.state == "aborted"), None)
    served = [flow for flow in requests if flow.state == "finished" and flow.parent is None]
    if left is None or not served:
        raise EnginescopeError(f"{folder} needs a request that ended and one that was left; record: {COMMANDS[0]}")
    flow = chosen(served, "median")
    return {
        "schema": SCHEMA,
        "made_by": list(COMMANDS),
        "about": about(found),
        "prompt_tokens": flow.prompt_tokens,
        "roles": _roles(found.spans),
        "first_token": _first_token(index, flow),
        "abort": _abort(index, left),
    }


def _first_token(index: Index, flow: Flow) -> list[dict[str, Any]]:
    """The spans of a request up to the yield of its first output: its own, its first step's, its first message's."""
    from tracing.walk import own_spans

    spans = own_spans(index.timeline, flow)
    yielded = spans[(spans["site"] == "async.generate") & (spans["value"] == 1)]
    until = int(yielded["end_ns"].iloc[0])
    mine = spans["request"].notna() | spans["step"].isin((-1, int(flow.steps[0]), int(flow.keys[0])))
    return _told(spans[mine & (spans["end_ns"] <= until)], flow.start_ns)


def _abort(index: Index, flow: Flow) -> list[dict[str, Any]]:
    """The first span of each of the abort's places after the last output that the caller took."""
    import pandas as pd

    spans = index.timeline.spans
    taken = spans[(spans["request"] == flow.external) & (spans["site"] == "async.generate") & (spans["value"] == 1)]
    begun = int(taken["end_ns"].iloc[-1])
    after = spans[(spans["start_ns"] >= begun) & spans["pid"].isin((flow.front_pid, flow.core_pid))]
    own = (after["site"] != "scheduler.free") | (after["request"] == flow.request)
    first = [after[own & (after["site"] == site)].head(1) for site in ABORT_SITES]
    return _told(pd.concat(first), begun)


def _told(spans: pd.DataFrame, begun: int) -> list[dict[str, Any]]:
    return [
        {
            "place": place(str(row.site)),
            "role": str(row.role),
            "wait": row.share == "wait",
            "start_ns": int(row.start_ns) - begun,
            "end_ns": int(row.end_ns) - begun,
        }
        for row in spans.itertuples(index=False)
    ]


def _roles(spans: pd.DataFrame) -> dict[str, str]:
    """The role of each place; those that run in several, or stand for what they load, are left out."""
    from tracing.sites.engine import SITES

    seen = spans.groupby("site", observed=True)["role"].unique()
    roles: dict[str, set[str]] = {}
    for site in SITES:
        if site.kind != "model" and site.name in seen:
            roles.setdefault(place(site.name), set()).update(map(str, seen[site.name]))
    return {name: only.pop() for name, only in roles.items() if len(only) == 1}


def place(site: str) -> str:
    """The qualified name of a site's function; the site's own where the function only loads what is timed."""
    from tracing.sites.engine import SITES

    known = next(known for known in SITES if known.name == site)
    return site if known.kind == "model" else known.targets[0].partition(":")[2]


def main() -> int:
    """Write the stories of a trace."""
    parser = argparse.ArgumentParser(
        prog="python -m notes.recorded",
        description="The recorded behaviour that the study plan's exercises are checked against, out of a trace.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a trace folder of tests/engine/traced/streams.py")
    told = stories(parser.parse_args().folder)
    FILE.write_text(json.dumps(told, indent=1) + "\n")
    print(f"Wrote {FILE}")
    return 0


if __name__ == "__main__":
    run_main(main)
