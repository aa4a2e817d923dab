"""Day 5, as it may be answered."""

CLIENTS = {
    "InprocClient": "EngineCoreClient",
    "MPClient": "EngineCoreClient",
    "SyncMPClient": "MPClient",
    "AsyncMPClient": "MPClient",
    "DPAsyncMPClient": "AsyncMPClient",
    "DPLBAsyncMPClient": "DPAsyncMPClient",
}

STATIONS = ["front end", "core input", "core", "worker", "core output"]

HOPS = {
    ("front end", "core input"): "ZMQ",
    ("core input", "core"): "queue",
    ("core", "worker"): "shared memory",
    ("worker", "core"): "shared memory",
    ("core", "core output"): "queue",
    ("core output", "front end"): "ZMQ",
}


def busy_ns(spans):
    total, counted_to = 0, None
    for start, end in sorted(spans):
        begin = start if counted_to is None else max(start, counted_to)
        total += max(0, end - begin)
        counted_to = max(end, begin)
    return total
