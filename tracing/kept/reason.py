"""The likely reason of what was kept, in one line: what the review says of that step, that request or those steps."""

from __future__ import annotations

from pathlib import Path

from probes.errors import EnginescopeError
from tracing.breakdown.findings import Findings, findings
from tracing.breakdown.review import SlowStep
from tracing.kept import hangdump
from tracing.kept.keeping import Keep

UNKNOWN = "not known: no step of that time was slower than its peers"


def reason(folder: Path, keep: Keep) -> str:
    """The reason; of a hang its dump's answer. A fault of the folder is one as well."""
    if dump := hangdump.text_in(folder):
        return dump.partition("\n")[0]
    try:
        return likely(findings(folder), keep)
    except EnginescopeError as error:
        return f"not known: {error}"


def likely(recorded: Findings, keep: Keep) -> str:
    """Of a step its own reason; of a request that of the slowest step in the time that was too long, else its own."""
    review = recorded.review
    if keep.step >= 0:
        own = [row for row in review.slow_steps if (row.core_pid, row.step) == (keep.pid, keep.step)]
        if own:
            return own[0].reason
    begin_ns, end_ns = keep.at_ns - keep.value_ns, keep.at_ns
    within = [row for row in review.slow_steps if row.start_ns < end_ns and row.start_ns + row.ns > begin_ns]
    slowest = max(within, key=_excess, default=None)
    if slowest and _excess(slowest) > keep.value_ns / 5:
        return slowest.reason
    internal = {flow.request for flow in recorded.flows if keep.request in flow.names}
    for row in review.slow_requests:
        if row.request in internal:
            return row.reason
    return slowest.reason if slowest else UNKNOWN


def _excess(step: SlowStep) -> int:
    return step.ns - step.median_ns
