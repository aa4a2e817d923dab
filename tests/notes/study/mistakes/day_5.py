"""Wrong answers to day 5, the process split, each with words of what its writer hears."""

from __future__ import annotations

WRONG = [
    (
        "CLIENTS = {**right.CLIENTS, 'AsyncMPClient': 'EngineCoreClient'}",
        "AsyncMPClient is not made from EngineCoreClient",
    ),
    ("CLIENTS = {'InprocClient': 'EngineCoreClient'}", "5 of 6 are not there"),
    ("CLIENTS = {**right.CLIENTS, 'BackgroundResources': 'object'}", "BackgroundResources is no client of the core"),
    (
        "STATIONS = ['front end', 'core', 'core input', 'worker', 'core output']",
        "came to core input before it came to core",
    ),
    ("STATIONS = ['front end', 'worker']", "each of the five, once"),
    ("HOPS = {**right.HOPS, ('core', 'worker'): 'ZMQ'}", "it is not ZMQ that carries core → worker"),
    ("HOPS = {('front end', 'core input'): 'ZMQ'}", "HOPS has no hop from core input to core"),
    ("HOPS = {**right.HOPS, ('worker', 'front end'): 'ZMQ'}", "nothing hops from worker to front end"),
    ("def busy_ns(spans):\n return sum(end - start for start, end in spans)", "counts once: sort by start"),
    ("def busy_ns(spans):\n return max(e for _, e in spans) - min(s for s, _ in spans)", "it raised ValueError"),
]
