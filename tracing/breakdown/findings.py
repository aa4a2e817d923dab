"""What a trace folder says, worked out once: the review, and the frames behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from probes.errors import EnginescopeError
from tracing import timeline as tracefolder
from tracing.breakdown import slow, stepkinds
from tracing.breakdown.batches import graphs, prefixcache, queue
from tracing.breakdown.batches.load import load
from tracing.breakdown.cost import ledger_rows, recorder_cost
from tracing.breakdown.kernels import summary as kernels
from tracing.breakdown.kernels.summary import KernelSummary
from tracing.breakdown.kernels.work import with_kinds
from tracing.breakdown.otherwatchers import GpuDevice, OperatorSummary
from tracing.breakdown.problems import problems
from tracing.breakdown.requests import budget, hops, latencies
from tracing.breakdown.requests.chosen import TraceWindow, WindowChoice, chosen
from tracing.breakdown.requests.latencies import FlowTimes
from tracing.breakdown.review import RequestCounts, Review
from tracing.breakdown.starts import starts
from tracing.breakdown.starvation import MachineSamples, machine_samples, starvation
from tracing.events.tracefile import read_trace
from tracing.nsys import gpu
from tracing.pyspy import tables
from tracing.pyspy.stacks import StackTime
from tracing.timeline.index import Index
from tracing.timeline.intervals import distinct
from tracing.timeline.requests import Flow
from tracing.timeline.requests import flows as flows_of
from tracing.timeline.spans import Timeline, on_device
from tracing.timeline.steps.admissions import admissions
from tracing.timeline.steps.anatomy import anatomy
from tracing.torchsums import operators

EVERYTHING = WindowChoice()


@dataclass(frozen=True)
class Findings:
    """What a trace folder says, read once and shown in several ways."""

    timeline: Timeline
    index: Index
    flows: list[Flow]
    steps: pd.DataFrame
    hops: pd.DataFrame
    budgets: pd.DataFrame  # nanoseconds by request and part, of the requests that were recorded whole
    times: FlowTimes
    machine: MachineSamples
    stacks: tuple[StackTime, ...]  # py-spy's, none where it did not run
    window: TraceWindow  # which `flows` and `steps` are of; the rest is the whole trace
    review: Review


def findings(folder: Path, choice: WindowChoice = EVERYTHING) -> Findings:
    """Read a trace folder and work out everything that is shown of it, or of the part that is chosen.

    What torch's profiler and nsys saw is left out of a part. `EnginescopeError` where nothing of the trace is in it.
    """
    recorded = analyze(tracefolder.read(folder), choice)
    for read in (_with_samples, _with_gpu):
        try:
            recorded = read(recorded)
        except EnginescopeError as error:
            problems = (*recorded.review.problems, str(error))
            recorded = replace(recorded, review=replace(recorded.review, problems=problems))
    return recorded


def _with_samples(recorded: Findings) -> Findings:
    """With what py-spy's samples say, where the folder has some."""
    window = recorded.window
    samples, stacks = tables.beside(recorded.timeline, (window.start_ns, window.end_ns) if window.words else None)
    return replace(recorded, stacks=stacks, review=replace(recorded.review, samples=samples))


def _with_gpu(recorded: Findings) -> Findings:
    """With what nsys saw of the GPU, where the folder has a report of it."""
    beside = None if recorded.window.words else gpu.beside(recorded.timeline)
    if beside is None or not len(beside.report.activity):
        return recorded
    activity = gpu.attributed(beside.report, recorded.timeline, beside.offset_ns)
    summary = gpu.gpu(activity, recorded.index, recorded.steps, recorded.hops, recorded.machine)
    families = kernels.summary(with_kinds(gpu.work(activity), recorded.steps))
    return replace(recorded, review=replace(recorded.review, gpu=summary, kernels=families))


class _Frames(NamedTuple):
    """Those of `Findings`."""

    steps: pd.DataFrame
    hops: pd.DataFrame
    budgets: pd.DataFrame
    times: FlowTimes
    machine: MachineSamples


def analyze(timeline: Timeline, choice: WindowChoice = EVERYTHING) -> Findings:
    """Everything that a timeline and the torch traces beside it say."""
    index = Index(timeline)
    window = chosen(choice, timeline, flows_of(index))
    flows, steps = window.flows, window.begun(anatomy(timeline))
    hop_frame = hops.hops(index, flows)
    machine = machine_samples(index)
    budgets = budget.budgets(index, [flow for flow in flows if flow.is_whole], machine.samples, machine.cores)
    times = latencies.request_times(index, flows)
    frames = _Frames(steps, hop_frame, budgets, times, machine)
    return Findings(timeline, index, flows, *frames, (), window, _review(index, window, frames))


def _review(index: Index, window: TraceWindow, frames: _Frames) -> Review:
    """The review of a window, without what other watchers than torch's profiler saw."""
    timeline, (steps, hop_frame, budgets, times, machine) = index.timeline, frames
    flows, within = window.flows, window.of(timeline)
    workers = _workers_by_kind(index, frames)
    sums, families = (None, None) if window.words else _by_torch(timeline, steps)
    (ledger, unread), admitted = ledger_rows(timeline, read_trace(timeline.folder)), admissions(timeline)
    victims, started = prefixcache.preemptions(timeline, steps, admitted), starts(timeline)
    return Review(
        about=about(timeline),
        problems=(*problems(timeline, flows, hop_frame, started), *unread, *(sums.problems if sums else ())),
        window=window.words,
        requests=request_counts(flows),
        latencies=latencies.summary(times),
        load=load(steps),
        budget=budget.summary(budgets),
        unexplained_share_median=budget.unexplained_share(budgets),
        unexplained_ns_per_token_median=budget.unexplained_per_token(budgets, flows),
        steps=stepkinds.summary(steps, stepkinds.idle_by_kind(workers)),
        queue=queue.held_back(timeline, steps),
        use=queue.budget_use(steps),
        graphs=graphs.graph_use(timeline, steps),
        prefix_cache=prefixcache.prefix_cache(timeline, steps, admitted, victims),
        preemptions=prefixcache.costliest(victims),
        devices=stepkinds.devices(index, steps, hop_frame, machine),
        workers=stepkinds.worker_uses(index, steps, workers),
        hops=hops.summary(hop_frame),
        slow_steps=slow.slow_steps(timeline, steps, machine),
        slow_requests=slow.slow_requests(budgets),
        starvation=starvation(within, machine),
        starts=started,
        dropped_spans=timeline.dropped,
        torn_spans=timeline.torn,
        roles=roles(timeline),
        cost=recorder_cost(within, ledger),
        operators=sums,
        samples=None,
        gpu=None,
        kernels=families,
    )


def _workers_by_kind(index: Index, frames: _Frames) -> dict[int, list[GpuDevice]]:
    """How idle each worker was; of those that go on after a launch, on a device, nothing is idle when they are."""
    if on_device(index.timeline):
        return {}
    return stepkinds.workers_by_kind(index, frames.steps, frames.hops, frames.machine)


def _by_torch(timeline: Timeline, steps: pd.DataFrame) -> tuple[OperatorSummary | None, KernelSummary | None]:
    """What torch's profiler saw: its operators, and the kernels by family where it saw any."""
    read = operators.read(timeline)
    families = kernels.summary(with_kinds(read.work, steps)) if read and len(read.work) else None
    return operators.summary(read), families


def about(timeline: Timeline) -> str:
    """One line: what was run, on which machine, under which vLLM."""
    trace = read_trace(timeline.folder)
    versions = {mode for process in timeline.processes for mode in process.modes if mode.startswith("vllm")}
    if trace is None:
        return "; ".join(["unknown command", *sorted(versions), "unknown machine"])
    machine = trace.machine
    on = [f"{machine.cpu_model}, {machine.cores_usable} cores", *(gpu.name for gpu in machine.gpus)]
    return "; ".join([one_line(trace.command), *sorted(versions), *on])


def one_line(command: str) -> str:
    """A command for a line of its own: of a program of several lines its first."""
    first, _, rest = command.strip().partition("\n")
    return f"{first} …" if rest else first


def request_counts(flows: list[Flow]) -> RequestCounts:
    """How many requests there were, and what became of them."""
    states = [flow.state for flow in flows]
    return RequestCounts(
        total=len(flows),
        whole=len(flows) - states.count("cut"),
        states={state: states.count(state) for state in dict.fromkeys(states)},
        cut={flow.request: tuple(flow.missing) for flow in flows if flow.state == "cut"},
    )


def roles(timeline: Timeline) -> dict[str, tuple[int, ...]]:
    """The processes in which each role was seen."""
    names, pids = timeline.spans["role"].cat, timeline.spans["pid"].to_numpy()
    codes = names.codes.to_numpy()
    pids_of = {str(name): distinct(pids[codes == code]) for code, name in enumerate(names.categories)}
    return {role: tuple(pids.tolist()) for role, pids in pids_of.items() if len(pids)}
