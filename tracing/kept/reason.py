"""The likely reason of what was kept, in one line: what the review says of that step, that request or that time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from probes.console import us
from probes.errors import EnginescopeError
from tracing.breakdown.findings import Findings, findings
from tracing.breakdown.requests.parts import parts
from tracing.breakdown.requests.waits import CALLER, waits
from tracing.breakdown.review import SlowStep
from tracing.breakdown.slow import busy, why_slow
from tracing.breakdown.starvation import queued_in_steps
from tracing.events.contention import STOPPED
from tracing.kept import hangdump
from tracing.kept.keeping import Keep
from tracing.timeline import contention
from tracing.timeline.requests import NO_END, Flow
from tracing.timeline.steps.anatomy import scheduled_tokens
from tracing.timeline.steps.phases import title

UNKNOWN = "not known: no step of that time was slower than its peers"
MOST_OF = 0.5  # of the time that was too long, from which one thing is its reason
PART_OF = 0.2  # the same for a step's excess, beside which the request has had other work
LONG_PROMPT = 4  # times the tokens of the median step
BESIDE_MODEL = ("schedule", "dispatch", "update", "gc")  # phases that no prompt makes long


def reason(folder: Path, keep: Keep) -> str:
    """The reason; of a hang its dump's answer. A fault of the folder is one as well."""
    if dump := hangdump.text_in(folder):
        return dump.partition("\n")[0]
    try:
        return likely(findings(folder), keep)
    except EnginescopeError as error:
        return f"not known: {error}"


def likely(recorded: Findings, keep: Keep) -> str:
    """What explains it, the surest first: the state at the event, a stopped process, a slow client, a slow step, a long
    prompt, a busy machine, a long phase of its step, the largest part of the request meanwhile."""
    of_steps = (_own_step, _slowest_step, _long_prompt, _queued, _phase_beside_model)
    reasons = (_preempted, _raised, _stopped, _slow_client, *of_steps, _largest_part, _slow_request)
    return next((text for text in (each(recorded, keep) for each in reasons) if text), UNKNOWN)


def _preempted(recorded: Findings, keep: Keep) -> str:
    """How full the KV cache was in the step that preempted."""
    steps = recorded.steps
    rows = steps[(steps["pid"] == keep.pid) & (steps["step"] == keep.step)]
    if keep.condition != "preempted" or not len(rows):
        return ""
    row = rows.iloc[0]
    load = f"{row['kv_used_blocks']} of {row['kv_blocks']} blocks of the KV cache were in use"
    return f"{load}, {row['prefill_requests'] + row['decode_requests']} requests ran and {row['waiting']} waited"


def _raised(recorded: Findings, keep: Keep) -> str:
    """Where an exception was raised."""
    spans = recorded.timeline.spans
    rows = spans[spans["raised"] & (spans["end_ns"] == keep.at_ns) & (spans["pid"] == keep.pid)]
    return f"an exception in {rows.iloc[0]['site']}" if keep.condition == "error" and len(rows) else ""


def _stopped(recorded: Findings, keep: Keep) -> str:
    """The process that a signal had stopped for most of the time."""
    samples = contention.read(recorded.timeline.folder)
    begin, end = (np.array([moment]) for moment in _window(keep))
    for process in recorded.timeline.processes:
        stopped_ns = float(samples.between(STOPPED, begin, end, process.pid)[0])
        if keep.value_ns and stopped_ns > MOST_OF * keep.value_ns:
            who = next(iter(process.serves), "process")
            return f"the {who} (pid {process.pid}) was stopped by a signal for {us(stopped_ns)} of {us(keep.value_ns)}"
    return ""


def _slow_client(recorded: Findings, keep: Keep) -> str:
    """The caller that did not ask for the next output for most of the time, whatever the engine did meanwhile."""
    flow = _flow(recorded, keep)
    if flow is None:
        return ""
    away = [wait for wait in waits(recorded.index, flow) if wait.name == CALLER]
    longest_ns = max((_within(keep, wait.start_ns, wait.end_ns) for wait in away), default=0)
    return f"{CALLER}: {us(longest_ns)} of {us(keep.value_ns)}" if longest_ns > MOST_OF * keep.value_ns else ""


def _own_step(recorded: Findings, keep: Keep) -> str:
    rows = recorded.review.slow_steps
    return next((row.reason for row in rows if (row.core_pid, row.step) == (keep.pid, keep.step)), "")


def _slowest_step(recorded: Findings, keep: Keep) -> str:
    """The slowest step meanwhile, where its excess is a part of the time that was too long."""
    (begin_ns, end_ns), cores = _window(keep), _cores(recorded, keep)
    rows = [row for row in recorded.review.slow_steps if row.core_pid in cores]
    within = [row for row in rows if row.start_ns < end_ns and row.start_ns + row.ns > begin_ns]
    slowest = max(within, key=_excess, default=None)
    return slowest.reason if slowest and _excess(slowest) > PART_OF * keep.value_ns else ""


def _long_prompt(recorded: Findings, keep: Keep) -> str:
    """A step that computed so much of prompts that it took most of the time; it has no peers to be slower than."""
    longest = _longest_step(recorded, keep)
    if longest is None or not keep.value_ns or _phase_beside_model(recorded, keep):
        return ""
    usual = scheduled_tokens(recorded.steps[recorded.steps["pid"].isin(_cores(recorded, keep))]).median()
    tokens = longest["prefill_tokens"] + longest["decode_tokens"]
    took_ns = _within(keep, longest["start_ns"], longest["end_ns"])
    if not longest["prefill_tokens"] or tokens < LONG_PROMPT * usual or took_ns < MOST_OF * keep.value_ns:
        return ""
    return f"a long prompt: {tokens:,} tokens in one step of {us(took_ns)} (the median step has {usual:,.0f})"


def _longest_step(recorded: Findings, keep: Keep) -> pd.Series | None:
    """The longest step that lies in that time, or partly."""
    begin_ns, end_ns = _window(keep)
    steps = recorded.steps[recorded.steps["pid"].isin(_cores(recorded, keep))]
    within = steps[(steps["start_ns"] < end_ns) & (steps["end_ns"] > begin_ns)]
    return within.loc[(within["end_ns"] - within["start_ns"]).idxmax()] if len(within) else None


def _queued(recorded: Findings, keep: Keep) -> str:
    """A thread that served the step or the request and stood in the kernel's run queue for most of the time."""
    machine, index, flow = recorded.machine, recorded.index, _flow(recorded, keep)
    own = recorded.steps[(recorded.steps["pid"] == keep.pid) & (recorded.steps["step"] == keep.step)]
    if len(own):
        queued_ns = int(queued_in_steps(machine, own, index.cores)[0])
    elif flow:
        begin, end = (np.array([moment]) for moment in _window(keep))
        queued_ns = int(machine.samples.queued(index.threads_of(flow.core_pid, flow.front_pid), begin, end)[0])
    else:
        return ""
    return busy(queued_ns) if queued_ns > MOST_OF * keep.value_ns > 0 else ""


def _phase_beside_model(recorded: Findings, keep: Keep) -> str:
    """What took most of the time in a step that has no peers to be slower than, beside the model."""
    step = _longest_step(recorded, keep)
    if step is None or not keep.value_ns:
        return ""
    phase = max(BESIDE_MODEL, key=lambda name: step[f"{name}_ns"])
    took_ns = step[f"{phase}_ns"]
    return f"{title(phase)} took {us(took_ns)} of {us(keep.value_ns)}" if took_ns > MOST_OF * keep.value_ns else ""


def _largest_part(recorded: Findings, keep: Keep) -> str:
    """The part that took most of the time of the request that fired."""
    flow = _flow(recorded, keep)
    if flow is None:
        return ""
    spent: dict[str, int] = {}
    for part in parts(recorded.index, flow):
        spent[part.name] = spent.get(part.name, 0) + _within(keep, part.start_ns, part.end_ns)
    name = max(spent, key=lambda each: spent[each])
    return f"{name}: {us(spent[name])} of {us(keep.value_ns)}" if spent[name] > MOST_OF * keep.value_ns else ""


def _flow(recorded: Findings, keep: Keep) -> Flow | None:
    """The request that fired, which may go on still; None where there is none, or its beginning was not seen."""
    flow = next((flow for flow in recorded.flows if keep.request and keep.request in flow.names), None)
    if flow is None or flow.state == "refused" or (flow.state == "cut" and flow.missing[-1:] != NO_END):
        return None
    return flow


def _slow_request(recorded: Findings, keep: Keep) -> str:
    return why_slow(recorded.budgets, {flow.request for flow in recorded.flows if keep.request in flow.names})


def _window(keep: Keep) -> tuple[int, int]:
    """The time that was too long."""
    return keep.at_ns - keep.value_ns, keep.at_ns


def _within(keep: Keep, start_ns: int, end_ns: int) -> int:
    """How much of an interval lies in that time, in nanoseconds."""
    begin, end = _window(keep)
    return max(min(end_ns, end) - max(start_ns, begin), 0)


def _cores(recorded: Findings, keep: Keep) -> set[int]:
    """The core that noticed it, or that served the request; all where neither is known."""
    cores = set(recorded.steps["pid"].tolist())
    serving = {flow.core_pid for flow in recorded.flows if keep.request and keep.request in flow.names}
    return cores & {keep.pid} or cores & serving or cores


def _excess(step: SlowStep) -> int:
    return step.ns - step.median_ns
