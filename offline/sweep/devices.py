"""What the visible GPUs did over a trial, sampled beside it; nothing on a machine without any."""

from __future__ import annotations

import os
from collections.abc import Callable

from offline.records.lines import DeviceUse
from probes.devices.device import Activity, Device, visible
from probes.devices.reading import read_devices
from probes.devices.sampling import DeviceSampler
from probes.processes.dialogue import Message


class DeviceWatch:
    """Samples the devices once a second while a trial runs; `uses` has the last trial's. The same in every arm."""

    def __init__(self) -> None:
        self.present = bool(visible(read_devices().devices, os.environ))
        self.uses: tuple[DeviceUse, ...] = ()

    def trial(self, run: Callable[[], Message]) -> Message:
        """Run a trial; what it answers. Samples before its `start_ns`, of what prepares it, do not count, and memory is
        read after it, so that nothing but samples falls into a trial."""
        if not self.present:
            return run()
        with DeviceSampler() as sampler:
            answer = run()
        # By name too: the cards of two vendors have the same numbers.
        taken = sampler.take(answer["start_ns"])
        activities = {(sampled.index, sampled.name): sampled.activity for sampled in taken}
        self.uses = tuple(
            device_use(device, activities.get((device.index, device.name), Activity()))
            for device in visible(read_devices().devices, os.environ)
        )
        return answer


def device_use(device: Device, activity: Activity) -> DeviceUse:
    """A device after a trial, and its mean activity over it."""
    memory = (device.used_bytes, device.total_bytes)
    return DeviceUse(device.index, device.name, *memory, activity.utilization_percent, activity.power_w)
