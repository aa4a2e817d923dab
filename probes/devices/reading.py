"""All devices of this machine, of either vendor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from probes.devices.amd import read_amd
from probes.devices.device import Device, DeviceReading
from probes.devices.nvidia import read_nvidia


def read_devices(pids: Collection[int] = ()) -> DeviceReading:
    """The devices now, with the share that the processes `pids` hold of each."""
    nvidia, amd = read_nvidia(), read_amd()
    devices = [_with_share(each, pids) for each in (*nvidia.devices, *amd.devices)]
    return DeviceReading(devices, [*nvidia.problems, *amd.problems])


def _with_share(device: Device, pids: Collection[int]) -> Device:
    """In a container the driver names processes by the host's numbers: what it tells of ours is then nothing."""
    own = [size for pid, size in device.holders.items() if pid in pids]
    known = [size for size in own if size is not None]
    return replace(device, engine_bytes=sum(known) if own and len(known) == len(own) else None)
