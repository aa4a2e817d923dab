"""Installs the watchers, step log and recorder, in the process that asks, each with a proof of what it hooked."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..events.layout import RANGES
from ..events.step import STEP_SITES
from ..sites.engine import LIVE_TARGETS, PROCESS_ROLES, SCOPE_SITE, SCOPE_TARGET, SITES, TRACER_TARGET
from ..sites.site import Site
from ..sites.starting import START_SITES, SWEEP_PHASES
from . import _recorder, patching, ranges, recorder, standing, startup, steplog
from .complaint import complain
from .device.devicedelay import DeviceDelays
from .wrappers import coroutines, pinned, scopes, table, tracecontext


def install_step_log(folder: str) -> None:
    """Hook this process; what was hooked, and what could not be, is written beside the log for `proof` to read."""
    hooked: list[str] = []
    missing: list[str] = []

    def put(target: str, wrap: patching.Wrap) -> None:
        module, name = target.partition(":")[0], target.replace(":", ".")
        with contextlib.suppress(ImportError):  # now, so that the proof is whole before the engine starts
            importlib.import_module(module)
            patching.patch(target, "steps", wrap, lambda present: (hooked if present else missing).append(name))
            return
        missing.append(name)

    for module, owner, method in STEP_SITES:
        put(f"{module}:{owner}.{method}", steplog.step_wrapper(method, folder))
    for site in START_SITES:
        if site.name in SWEEP_PHASES:
            facts = startup.WORKER_FACTS.get(site.name)
            put(site.targets[0], startup.start_wrapper(site.name, folder, facts))
    proof = {"pid": os.getpid(), "hooked": hooked, "missing": missing, "plugin_ns": time.monotonic_ns()}
    Path(folder, f"hooks-{os.getpid()}.json").write_text(json.dumps(proof))


def standing_folder(ring: str | None) -> str:
    """The folder of an engine that is always watched, for all of its processes; '' where there can be none."""
    try:
        return str(standing.make(ring))
    except (OSError, ValueError) as error:
        complain(f"not standing by in process {os.getpid()}: {error}")
        return ""


def install_keeper(conditions: str, folder: str | None) -> None:
    """Watch the rings from a process of its own, which ends after this one."""
    try:
        standing.start_keeper(conditions.split(";"), folder)
    except OSError as error:
        complain(f"nothing is kept: {error}")


def install_recorder(folder: str, nvtx: str | None) -> None:
    """Record this process into `folder`: every site is hooked that is imported, now or later.

    `nvtx` is NVIDIA's library where NVTX ranges are wanted too.
    """
    if recorder.recording():
        return
    try:
        recorder.begin(folder, _serves())
    except OSError as error:
        complain(f"not recording in process {os.getpid()}: {error}")
        return
    _recorder.delay_on_device(DeviceDelays().put)
    ranged = coroutines.ranged = nvtx is not None and _ranges(nvtx, recorder.add)
    recorder.add(modes=[f"vllm {_version()}", *(["nvtx"] if ranged else [])])
    for site in SITES:
        wrap = table.wrapper_of(site, ranged)  # of sites that share a target the first one's serves them all
        for target in (*site.targets, *site.also):
            patching.patch(target, "spans", wrap, _reporter(recorder.add, site, target))
    patching.patch(SCOPE_TARGET, "spans", scopes.scoped, _reporter(recorder.add, SCOPE_SITE, SCOPE_TARGET))
    patching.patch(TRACER_TARGET, "spans", tracecontext.watched, lambda present: None)
    if recorder.stands():
        for target, wrap in zip(LIVE_TARGETS, (pinned.adding, pinned.freeing), strict=True):
            patching.patch(target, "pins", wrap, lambda present: None)
        recorder.each_second(pinned.write)
    else:  # who attaches to an engine that stands by comes after its start
        _install_start(folder)


def _install_start(folder: str) -> None:
    for site in START_SITES:
        for target in site.targets:
            patching.patch(target, "start", startup.start_wrapper(site.name, folder), lambda present: None)


def _ranges(library: str, add: Callable[..., None]) -> bool:
    """Begin to make NVTX ranges; whether that went well."""
    try:
        ranges.begin(library, _serves())
    except OSError as error:
        add(missing=[f"{RANGES} ({error})"])
        return False
    return True


def _reporter(add: Callable[..., None], site: Site, target: str) -> patching.Report:
    """Says whether a site's function is there; that of a model's site only loads it, and then says more."""

    def report(present: bool) -> None:
        if not present:
            add(missing=[f"{site.name} ({target})"])
        elif site.kind != "model":
            add(hooked=[site.name])

    return report


def _serves() -> list[str]:
    """The roles of this process, from who is loading the plugin: the core, a worker, or else the front end."""
    frame: Any = sys._getframe()
    files = set()
    while frame is not None:
        files.add(frame.f_code.co_filename.replace(os.sep, "/"))
        frame = frame.f_back
    if any(name.endswith("vllm/v1/worker/worker_base.py") for name in files):
        return PROCESS_ROLES["vllm.v1.executor.multiproc_executor"]
    if any(name.endswith("vllm/v1/engine/core.py") for name in files):
        return PROCESS_ROLES["vllm.v1.engine.core"]
    return ["helper"] if any(name.endswith("models/registry.py") for name in files) else ["front end"]


def _version() -> str:
    return str(getattr(sys.modules.get("vllm"), "__version__", "unknown"))
