"""`python -m probes.memory`: what an engine's memory is made of, by one of its processes or by its server's address.

This module is the command; `probes.enginegroup` finds the processes, `footprint` and `probes.devices` the bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from probes.errors import EnginescopeError, run_main

if TYPE_CHECKING:
    from probes.enginegroup import Member, Started
    from probes.memory.account import Memory
    from probes.metrics.endpoint import Endpoint
    from probes.metrics.exposition import Snapshot

LOCAL_TIMEOUT_S = 3.0
EPILOG = """examples:
  python -m probes.memory                            the engine on this machine
  python -m probes.memory 4242                       the engine that process 4242 belongs to, any of its processes
  python -m probes.memory http://127.0.0.1:8000      a server; its processes too where it is local
  python -m probes.memory 4242 --model /models/M --json
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m probes.memory",
        description="What an engine's memory is made of: processes, weights, KV cache, GPUs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("engine", nargs="?", metavar="PID|URL", help="any process of the engine, or its server")
    made.add_argument("--model", metavar="DIR", help="the model's folder, where the command line does not name it")
    made.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    return made


def main() -> int:
    """The command."""
    from probes.memory.table import report

    args = parser().parse_args()
    group, at = found(args.engine)
    seen = memory(group, at, args.model, url_given=bool(args.engine) and not args.engine.isdigit())
    print(json.dumps(as_dict(seen), indent=2) if args.json else "\n".join(report(seen)))
    return 0


# --- finding it ---


def found(engine: str | None) -> tuple[list[Member], Endpoint | None]:
    """The processes, and the server's address where one was given."""
    from probes.enginegroup import group_of, listener
    from probes.metrics.endpoint import endpoint

    if engine is None:
        return only_engine(), None
    if engine.isdigit():
        return group_of(int(engine)), None
    at = endpoint(engine)
    pid = listener(at.port) if at.is_local else None
    return group_of(pid) if pid else [], at


def only_engine() -> list[Member]:
    """The engine on this machine, where there is exactly one."""
    from probes.enginegroup import groups

    here = groups()
    if not here:
        raise EnginescopeError("no engine runs here (no process is titled VLLM::EngineCore); name a PID or a URL")
    if len(here) > 1:
        pids = ", ".join(str(group[0].pid) for group in here)
        raise EnginescopeError(f"{len(here)} engines run here; name one by its front end's PID: {pids}")
    return here[0]


def memory(group: Sequence[Member], at: Endpoint | None, model: str | None, url_given: bool) -> Memory:
    """Ask the kernel, the server, the model's folder and the driver."""
    from probes.devices import devices
    from probes.enginegroup import Started, started
    from probes.memory.account import Memory
    from probes.memory.footprint import footprint, model_folder, weights
    from probes.memory.kvcache import kv_caches
    from probes.metrics.endpoint import look

    said = started(group) if group else Started(None, None, None)
    sizes = [(member, size) for member in group if (size := footprint(member.pid))]
    seen = look(at) if at else own_server(group, said)
    name = model or said.model
    folder = model_folder(name) if name else None
    if model and not folder:
        raise EnginescopeError(f"--model {model}: there is no such folder, nor a model of that name in the hub's cache")
    kv = kv_caches(seen, folder, said.dtype) if seen else []
    if url_given and not kv and not sizes:
        raise EnginescopeError(
            "this server does not tell its cache configuration, and its processes are not visible here"
        )
    loaded = weights(folder, said.dtype) if folder else None
    return Memory(sizes, name, loaded, kv, devices({member.pid for member in group}) if group else [])


def own_server(group: Sequence[Member], said: Started) -> Snapshot | None:
    """Ask the group's own server, where its command line says that it is one and it holds that port."""
    from probes.enginegroup import listener
    from probes.metrics.endpoint import Endpoint, look

    if said.port is None or listener(said.port) not in {member.pid for member in group}:
        return None
    try:
        return look(Endpoint("http", "127.0.0.1", said.port, "/metrics"), LOCAL_TIMEOUT_S)
    except EnginescopeError:
        return None  # it is still starting: the processes are worth showing


# --- showing it ---


def as_dict(seen: Memory) -> dict[str, Any]:
    """For JSON."""
    from probes.devices import balance
    from probes.memory.table import WHY

    processes = [
        asdict(member) | {f"{key}_bytes": size for key, size in asdict(each).items()} for member, each in seen.processes
    ]
    return {
        "processes": processes,
        "model": seen.model,
        "weights": seen.weights and asdict(seen.weights),
        "kv_cache": [asdict(each) for each in seen.kv],
        "gpus": [asdict(device) for device in seen.devices],
        "gpu_balance": balance(seen.devices),
        "why": WHY,
    }


if __name__ == "__main__":
    run_main(main)
