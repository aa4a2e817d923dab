"""Where the time of a window went, as a record holds it: requests by stage, steps by phase.

The process of an engine imports it, in environments that have what vLLM requires and little more: no library here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.columns import column

Budget = Mapping[str, float]  # one replicate's nanoseconds by stage


@dataclass(frozen=True)
class StepTimes:
    """The steps of one kind."""

    kind: str = field(metadata=column("prefill, mixed, first decode, decode or empty"))
    count: int = field(metadata=column("how many there were", "steps"))
    phases_ns: dict[str, int] = field(
        metadata=column("their time by phase, all of them together; it adds up to their length", "ns")
    )

    def budget(self) -> Budget:
        """The mean step's nanoseconds by phase."""
        return _mean(self.phases_ns, self.count)


@dataclass(frozen=True)
class WindowTimes:
    """Where the time of a window's requests and steps went."""

    requests: int = field(metadata=column("those that were recorded whole", "requests"))
    cut: int = field(metadata=column("those that were not", "requests"))
    stages_ns: dict[str, int] = field(
        metadata=column("time by stage, all whole requests together; it adds up to their latencies", "ns")
    )
    steps: tuple[StepTimes, ...] = field(metadata=column("the engine's steps by kind"))
    spans: int = field(metadata=column("recorded", "spans"))

    def budget(self) -> Budget:
        """The mean request's nanoseconds by stage; empty without a whole request."""
        return _mean(self.stages_ns, self.requests)

    def step_budget(self, kind: str) -> Budget:
        """The mean step of a kind, its nanoseconds by phase; empty without one."""
        return next((steps.budget() for steps in self.steps if steps.kind == kind), {})


def _mean(total_ns: Mapping[str, int], count: int) -> Budget:
    return {name: ns / count for name, ns in total_ns.items()} if count else {}
