"""GPU memory as the NVIDIA driver counts it, per device, and how evenly an engine is spread over its devices."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass

TIMEOUT_S = 20
MIB = 2**20


@dataclass(frozen=True)
class Device:
    """One GPU; sizes in bytes. `engine` is the engine's own share, None where the driver does not tell whose it is."""

    index: int
    name: str
    used: int
    total: int
    engine: int | None


def devices(pids: Collection[int]) -> list[Device]:
    """Every GPU of this machine; none where there is no driver."""
    rows = _ask("--query-gpu=index,uuid,name,memory.used,memory.total")
    apps = _ask("--query-compute-apps=gpu_uuid,pid,used_memory")
    return [made for row in rows if (made := _device(row, apps, pids))]


def _device(row: list[str], apps: list[list[str]], pids: Collection[int]) -> Device | None:
    if len(row) != 5 or not (row[0].isdigit() and row[3].isdigit() and row[4].isdigit()):
        return None  # devices that share the host's memory say [N/A]
    own = [app[2] for app in apps if len(app) == 3 and app[0] == row[1] and app[1].isdigit() and int(app[1]) in pids]
    told = own and all(size.isdigit() for size in own)
    # In a container the driver names processes by the host's numbers: what it tells of ours is then nothing.
    engine = sum(map(int, own)) * MIB if told else None
    return Device(int(row[0]), row[2], int(row[3]) * MIB, int(row[4]) * MIB, engine)


def _ask(query: str) -> list[list[str]]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []


def of_engine(found: Sequence[Device]) -> list[Device]:
    """The devices that the engine is on; all of them where the driver does not tell."""
    own = [device for device in found if device.engine]
    return own or list(found)


def balance(found: Sequence[Device]) -> float | None:
    """The least filled of the engine's devices over the fullest: 1 is even. None with fewer than two."""
    sizes = [device.used if device.engine is None else device.engine for device in of_engine(found)]
    return min(sizes) / max(sizes) if len(sizes) > 1 and max(sizes) else None
