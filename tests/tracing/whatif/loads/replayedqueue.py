"""The queue of a device, replayed with the host's steps as they were measured: by how much steps would grow under a
delay if the queue alone decided.

The host launches a step and then waits for the one before, which the device has been given earlier; the device works in
order. Where all steps are equal, one takes as long as the slower of the two. Measured ones vary, so that some are the
host's and some the device's, and a delay shows before it is as long as the usual difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.statistics.intervals import Estimate
from tracing.whatif.blocks import usual_length
from tracing.whatif.slopes import center


@dataclass(frozen=True)
class HostSteps:
    """What the host does in steps in a row, arrays of one length in ns: from the end of its wait for the device to the
    launch, and from there to the next wait."""

    before_ns: npt.NDArray[np.int64]
    after_ns: npt.NDArray[np.int64]


@dataclass(frozen=True)
class QueueDelay:
    """A delay in each step, in ns, before the launch or on the device."""

    host_ns: float = 0.0
    device_ns: float = 0.0

    @property
    def length_ns(self) -> float:
        return self.host_ns + self.device_ns


def periods_ns(host: HostSteps, device_ns: float, delay: QueueDelay) -> npt.NDArray[np.float64]:
    """From the end of each wait to that of the next, where the device works for `device_ns` on each step."""
    now = free = 0.0
    ends = []
    for before, after in zip(host.before_ns.tolist(), host.after_ns.tolist(), strict=True):
        launch = now + before + delay.host_ns
        now = max(launch + after, free)
        free = max(launch, free) + device_ns + delay.device_ns
        ends.append(now)
    return np.diff(ends, prepend=0.0)


def replayed_slope(blocks: Sequence[HostSteps], device_ns: float, delay: QueueDelay) -> Estimate:
    """By how much the steps of some blocks would grow for each ns of a delay, estimated as a measured slope is."""
    periods = [[block_period_ns(each, device_ns, put) for put in (delay, QueueDelay())] for each in blocks]
    return center([(delayed - plain) / delay.length_ns for delayed, plain in periods])


def block_period_ns(host: HostSteps, device_ns: float, delay: QueueDelay) -> float:
    """The wall time of a step of a block, which is replayed twice: once to fill the queue."""
    twice = HostSteps(np.tile(host.before_ns, 2), np.tile(host.after_ns, 2))
    return usual_length(periods_ns(twice, device_ns, delay)[len(host.before_ns) :])
