"""What a trace folder says, worked out once: everything that `review.json` holds, and the frames behind it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import EnginescopeError

if TYPE_CHECKING:
    import pandas as pd

    from tracing.timeline.requests import Flow
    from tracing.timeline.spans import Timeline

SCHEMA = 1


@dataclass(frozen=True)
class Findings:
    """What a trace folder says, read once and shown in several ways."""

    timeline: Timeline
    flows: list[Flow]
    steps: pd.DataFrame
    hops: pd.DataFrame
    review: dict[str, Any]  # what `review.json` holds


def findings(folder: Path) -> Findings:
    """Read a trace folder and work out everything that is shown of it."""
    from tracing import timeline

    found = worked_out(timeline.read(folder))
    for name, read in (("samples", _samples), ("gpu", _gpu)):
        try:
            found.review[name] = read(found)
        except EnginescopeError as error:
            found.review["problems"].append(str(error))
    return found


def _samples(found: Findings) -> dict[str, Any] | None:
    """What py-spy's samples say, where the folder has some."""
    from tracing.pyspy import tables

    return tables.beside(found.timeline)


def _gpu(found: Findings) -> dict[str, Any] | None:
    """What nsys saw of the GPU, where the folder has a report with it."""
    from tracing.nsys import gpu

    beside = gpu.beside(found.timeline)
    if beside is None:
        return None
    return gpu.gpu(beside.report, found.timeline, found.steps, found.hops, beside.offset_ns)


def worked_out(read: Timeline) -> Findings:
    """Everything that is shown of a timeline."""
    from tracing.breakdown import budget, hops, slow
    from tracing.timeline.index import Index
    from tracing.timeline.requests import flows as flows_of
    from tracing.timeline.steps import anatomy
    from tracing.torchsums import operators

    index = Index(read)
    flows = flows_of(index)
    steps = anatomy(read)
    hopped = hops.hops(index, flows)
    whole = [each for each in flows if each.state not in ("cut", "refused")]
    budgets = budget.budgets(index, whole)
    latencies = {each.request: each.latency_ns for each in whole}
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "about": about(read),
        "problems": problems(read, flows),
        "requests": requests(flows),
        "budget": budget.summary(budgets),
        "unexplained_share_median": budget.unexplained_share(budgets),
        "unexplained_ns_per_token_median": budget.unexplained_per_token(budgets, whole),
        "steps": step_rows(steps),
        "hops": hop_rows(hopped),
        "slow_steps": slow.slow_steps(read, steps),
        "slow_requests": slow.slow_requests(latencies, budgets),
        "dropped_spans": read.dropped,
        "torn_spans": read.torn,
        "roles": roles(read),
        "cost": cost(read),
        "operators": operators.summary(operators.read(read)),
        "samples": None,
        "gpu": None,
    }
    made["cost"]["ledger"], unread = ledger_rows(read)
    made["problems"] += unread
    made["problems"] += (made["operators"] or {}).get("problems", [])
    return Findings(read, flows, steps, hopped, made)


# --- the parts of review.json ---


def trace_file(folder: Path) -> dict[str, Any]:
    """`trace.json`; empty where the recorder was killed before it wrote one."""
    try:
        said: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    except (OSError, ValueError):
        return {}
    return said


def about(timeline: Timeline) -> str:
    """One line: what was run, on which machine, under which vLLM."""
    trace = trace_file(timeline.folder)
    machine = trace.get("machine", {})
    versions = {mode for process in timeline.processes for mode in process.get("modes", []) if mode.startswith("vllm")}
    parts = [
        trace.get("command", "unknown command"),
        *sorted(versions),
        f"{machine.get('cpu_model', 'unknown machine')}, {machine.get('cores_usable', '?')} cores",
        *(gpu["name"] for gpu in machine.get("gpus") or []),
    ]
    return "; ".join(str(part) for part in parts)


def problems(timeline: Timeline, flows: list[Flow]) -> list[str]:
    """What makes this trace less than whole, a line each."""
    found = list(trace_file(timeline.folder).get("problems", []))
    if timeline.dropped:
        found.append(f"{timeline.dropped} spans were dropped: the figures below leave them out")
    if timeline.torn:
        found.append(f"{timeline.torn} records were being written when their process died")
    found += [f"process {p['pid']} said nothing of itself" for p in timeline.processes if p.get("incomplete")]
    cut = [flow for flow in flows if flow.state == "cut"]
    if trace_file(timeline.folder).get("state") == "running":
        found.append("the recording did not end: the recorder still runs, or was killed")
    dead = died(timeline)
    found += dead
    why = "; ".join(dead)
    found += [f"request {flow.request} was cut: {why or 'no ' + ', '.join(flow.missing)}" for flow in cut[:10]]
    if len(cut) > 10:
        found.append(f"… and {len(cut) - 10} more requests were cut")
    return found


def died(timeline: Timeline) -> list[str]:
    """`the worker died (pid 12)` for each engine process that was killed, in the order of roles."""
    killed = [p for p in timeline.processes if p.get("stopped_ns", 0) is None and p["serves"]]
    return [f"the {p['serves'][0]} died (pid {p['pid']})" for p in killed]


def requests(flows: list[Flow]) -> dict[str, Any]:
    states = [flow.state for flow in flows]
    cut = {flow.request: list(flow.missing) for flow in flows if flow.state == "cut"}
    counted = {state: states.count(state) for state in dict.fromkeys(states)}
    return {"total": len(flows), "whole": len(flows) - states.count("cut"), "states": counted, "cut": cut}


def roles(timeline: Timeline) -> dict[str, list[int]]:
    """The processes in which each role was seen."""
    seen = timeline.spans.groupby("role", observed=True)["pid"].unique()
    return {str(role): sorted(int(pid) for pid in pids) for role, pids in seen.items()}


def step_rows(steps: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a kind of step: count, medians of phases and tokens, the worker's idle share and what the core did then."""
    from tracing.timeline.steps import KINDS, PHASES

    found = []
    idle = [name for name in steps if name.startswith("idle_")]
    for kind in KINDS:
        rows = steps[(steps["kind"] == kind)]
        if not len(rows):
            continue
        timed = rows[rows["period_ns"] > 0]
        period = int(timed["period_ns"].sum())
        parts = {name.removeprefix("idle_"): int(timed[name].sum()) / period for name in idle if period}
        found.append(
            {
                "kind": kind,
                "count": len(rows),
                "median_ns": int((rows["end_ns"] - rows["start_ns"]).median()),
                "tokens_median": float((rows["prefill_tokens"] + rows["decode_tokens"]).median()),
                "requests_median": float((rows["prefill_requests"] + rows["decode_requests"]).median()),
                **{f"{phase}_median_ns": int(rows[f"{phase}_ns"].median()) for phase in PHASES},
                "worker_idle_share": int(timed["worker_idle_ns"].sum()) / period if period else None,
                "core_while_idle": dict(sorted(parts.items(), key=lambda part: -part[1])[:5]),
            }
        )
    return found


def hop_rows(hops: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a hop: how many, its latency, and the bytes where they are known."""
    found = []
    distinct = hops.drop_duplicates(["hop", "from_ns", "to_ns"])
    for hop, rows in distinct.groupby("hop", sort=False, observed=True):
        sizes = rows["bytes"][rows["bytes"] > 0]
        found.append(
            {
                "hop": str(hop),
                "count": len(rows),
                "median_ns": int(rows["latency_ns"].median()),
                "p95_ns": int(rows["latency_ns"].quantile(0.95)),
                "bytes_median": int(sizes.median()) if len(sizes) else None,
            }
        )
    return found


def cost(timeline: Timeline) -> dict[str, Any]:
    """What the recorder itself cost: spans, nanoseconds a span as measured after the run, and its share of wall time.

    The share is that of the busiest thread while there was traffic: an estimate, since its spans are counted and not
    timed.
    """
    each = trace_file(timeline.folder).get("ns_per_span")
    spans = timeline.spans
    traffic = spans[spans["step"] >= 0]
    made: dict[str, Any] = {"spans": len(spans), "ns_per_span": each, "share": None}
    if each and len(traffic):
        window = int(traffic["end_ns"].max() - traffic["start_ns"].min())
        busiest = int(traffic.groupby(["pid", "thread"]).size().max())
        made["share"] = busiest * each / max(window, 1)
    return made


def ledger_rows(timeline: Timeline) -> tuple[list[dict[str, Any]], list[str]]:
    """What the watchers of this trace were measured to cost on its machine, and why that cannot be told."""
    from tracing.overhead import ledger
    from tracing.pyspy import recording
    from tracing.torchsums import trace as torchtrace

    trace = trace_file(timeline.folder)
    ranged = any("nvtx" in process["modes"] for process in timeline.processes)
    watchers = ["nsys" if trace.get("nsys") else "recorder + NVTX" if ranged else "recorder"]
    if torchtrace.paths(timeline.folder):
        watchers.append("torch profiler")
    if recording.exists(timeline.folder):
        watchers.append("py-spy")
    try:
        return [asdict(quote) for quote in ledger.quote(trace.get("machine", {}), watchers)], []
    except EnginescopeError as error:
        return [], [str(error)]
