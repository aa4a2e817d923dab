"""All that is known of an engine's memory: asked of the kernel, the server, the model's folder and the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from probes.devices.device import DeviceReading, balance
from probes.devices.reading import read_devices
from probes.engineplatform import TPU, XPU, installed_version
from probes.errors import EnginescopeError
from probes.memory.cachedtype import AUTO
from probes.memory.footprint import Footprint, Weights, footprint, model_folder, weights
from probes.memory.kvcache import KVCache, kv_caches
from probes.memory.modelconfig import model_config
from probes.metrics.endpoint import METRICS, Endpoint, endpoint, look
from probes.metrics.exposition import Snapshot
from probes.processes.enginegroup import LaunchOptions, Member, group_of, groups, holds_engine, launch_options, listener

LOCAL_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Memory:
    """An engine's memory; what is not known is None or empty."""

    processes: list[tuple[Member, Footprint]]
    model: str | None
    weights: Weights | None
    kv: list[KVCache]
    devices: DeviceReading

    def as_dict(self) -> dict[str, object]:
        """For JSON; sizes in bytes."""
        return {
            "processes": [
                asdict(member) | {f"{key}_bytes": size for key, size in asdict(each).items()}
                for member, each in self.processes
            ],
            "model": self.model,
            "weights": self.weights and asdict(self.weights),
            "kv_cache": [asdict(each) for each in self.kv],
            "gpus": [asdict(device) for device in self.devices.devices],
            "gpu_problems": self.devices.problems,
            "gpu_balance": balance(self.devices.devices),
        }


def find_engine(name: str | None) -> tuple[list[Member], Endpoint | None]:
    """The processes of the engine that a PID or a URL names, and the server's address where that was a URL.

    Without a name, the one engine of this machine. `EnginescopeError` where there is none, or more than one.
    """
    if name is None:
        return _only_engine(), None
    if name.isdigit():
        group = group_of(int(name))
        if not holds_engine(group):
            program = next((f" ({each.name})" for each in group if each.pid == int(name)), "")
            raise EnginescopeError(
                f"process {name}{program} is not an engine: neither it nor what it has started loaded vLLM; "
                "name another, or none"
            )
        return group, None
    at = endpoint(name)
    pid = listener(at.port) if at.is_local else None
    return group_of(pid) if pid else [], at


def _only_engine() -> list[Member]:
    engines = groups()
    if not engines:
        raise EnginescopeError("no engine runs here (no process is titled VLLM::EngineCore); name a PID or a URL")
    if len(engines) > 1:
        pids = ", ".join(str(group[0].pid) for group in engines)
        raise EnginescopeError(f"{len(engines)} engines run here; name one by its front end's PID: {pids}")
    return engines[0]


def engine_memory(group: Sequence[Member], at: Endpoint | None, model: str | None = None) -> Memory:
    """The memory of the engine `group`, whose server is `at`; `model` is a folder where no command line names it."""
    options = launch_options(group) if group else LaunchOptions(None, None, None)
    sizes = [(member, size) for member in group if (size := footprint(member.pid))]
    snapshot = look(at) if at else _own_server(group, options)
    name = model or options.model
    folder = model_folder(name) if name else None
    if model and not folder:
        raise EnginescopeError(f"--model {model}: there is no such folder, nor a model of that name in the hub's cache")
    kv = kv_caches(snapshot, folder, options.dtype, options.tensor_parallel) if snapshot else []
    if at and not kv and not sizes:
        raise EnginescopeError(
            "this server does not report its cache configuration, and its processes are not visible here"
        )
    devices = _devices({member.pid for member in group}) if group else DeviceReading([])
    loaded = _weights(folder, options.dtype) if folder else None
    return Memory(sizes, name, loaded, kv, devices)


def _weights(folder: Path, dtype: str | None) -> Weights | None:
    """A model's weights as an engine of this dtype loads them, or one that was told none."""
    narrowed = "bfloat16" if model_config(folder).is_narrowed else None
    return weights(folder, narrowed if dtype in AUTO else dtype)


def _devices(pids: set[int]) -> DeviceReading:
    """The devices, with the share of these processes; Intel's and Google's, which are not read, are named."""
    reading, version = read_devices(pids), installed_version() or ""
    unread = [name for name in (XPU, TPU) if name in version]
    if reading.devices or not unread:
        return reading
    return DeviceReading(
        [], [*reading.problems, f"vLLM {version} runs on {unread[0].upper()}s, which are not read here"]
    )


def _own_server(group: Sequence[Member], options: LaunchOptions) -> Snapshot | None:
    """A look at the group's own server, where its command line says that it is one and it holds that port."""
    if options.port is None or listener(options.port) not in {member.pid for member in group}:
        return None
    try:
        return look(Endpoint("http", "127.0.0.1", options.port, METRICS), LOCAL_TIMEOUT_S)
    except EnginescopeError:
        return None  # it is still starting: the processes are worth showing
