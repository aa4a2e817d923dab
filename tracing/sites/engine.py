"""The map of the engine: every function of vLLM that this room hooks, in the order in which a request meets them.

The tables of this folder are the only place that names them. A site that is not required has alternatives where a name
moved between versions; all that are there are hooked. `python -m tracing.sites` prints the tables with the lines in
the installed vLLM, without importing it.
"""

from __future__ import annotations

from . import core, features, frontend
from .site import Site
from .worker import WORKER

SITES: tuple[Site, ...] = (
    *frontend.WAY_IN,
    *core.INPUT,
    *core.MAIN,
    *features.IN_CORE,
    *core.QUEUE,
    *WORKER,
    *features.IN_WORKER,
    *core.OUTPUT,
    *frontend.WAY_BACK,
)

# Spans without a function of vLLM's at their place: the interpreter's own pauses, vLLM's named scopes, and delays that
# `tracing.whatif` asks for.
GC_SITE = Site("gc", "garbage collection", "core", (), numbers=("generation", "collected"))
SCOPE_SITE = Site("scope", "vLLM scope", "core", (), share="frame", numbers=("name", ""))
DELAY_SITE = Site("delay", "delay", "core", (), numbers=("delayed site", "phase"))
SCOPE_TARGET = "vllm.v1.utils:record_function_or_nullcontext"

# What takes a request into the scheduler, and what lets go of it.
LIVE_TARGETS = tuple(f"vllm.v1.core.sched.scheduler:Scheduler.{name}" for name in ("add_request", "_free_request"))

# vLLM's own tracing by OpenTelemetry, where it is on: what begins it, its span of a request, and the attribute of that
# span that holds the caller's id.
TRACER_TARGET = "vllm.tracing:init_tracer"
REQUEST_SPAN, REQUEST_ID = "llm_request", "gen_ai.request.id"

# The roles of a process that vLLM starts, by the module of the function that it runs.
PROCESS_ROLES: dict[str, list[str]] = {
    "vllm.v1.engine.core": ["core", "core input", "core output"],
    "vllm.v1.executor.multiproc_executor": ["worker"],
    "vllm.v1.engine.coordinator": ["coordinator"],
}

ALL_SITES: tuple[Site, ...] = (*SITES, GC_SITE, SCOPE_SITE, DELAY_SITE)
CODES: dict[str, int] = {site.name: code for code, site in enumerate(ALL_SITES)}
