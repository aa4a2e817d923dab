"""A workload out of a recorded trace: arrivals, lengths and prefix sharing of production's traffic, and no content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from offline.workload.items import Item
from offline.workload.source import WorkloadSource
from probes.errors import EnginescopeError
from tracing import timeline as tracefolder
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow, flows

PREFIX = "recorded"
SERVED = ("finished", "stopped", "aborted")


def read_trace(folder: Path) -> WorkloadSource:
    """The requests of a trace folder; those that were refused or cut off have no whole length and are left out."""
    index = Index(tracefolder.read(folder))
    served = [flow for flow in flows(index) if flow.state in SERVED and flow.prompt_tokens and flow.output_tokens]
    if not served:
        raise EnginescopeError(f"{folder} holds no whole request")
    first_ns = served[0].start_ns
    items = [_item(index, flow, first_ns) for flow in served]
    origin = f"{len(items)} requests of the trace {folder.name}, token ids drawn"
    return WorkloadSource(folder.name, False, origin, None, tuple(with_donors(items)))


def _item(index: Index, flow: Flow, first_ns: int) -> Item:
    cached = index.cached(flow.request)
    at_s = (flow.start_ns - first_ns) / 1e9
    prefix = PREFIX if cached else None
    return Item(flow.prompt_tokens, flow.output_tokens, prefix, cached, at_s=round(at_s, 9))


def with_donors(items: list[Item]) -> list[Item]:
    """What was found in the cache, some request had put there: the latest one before that is long enough shares it too.

    A trace does not say whose prefix was found, so all found ones are taken to begin alike.

    | prompt, cached | prompt, shared prefix |
    | -------------- | --------------------- |
    | 40, 0          | 40, 0                 |
    | 64, 0          | 64, 32                |
    | 50, 32         | 50, 32                |
    """
    shared, longest = list(items), 0  # of the prefixes so far
    for place, item in enumerate(items):
        if item.prefix_tokens <= longest:
            continue
        longest = item.prefix_tokens
        donor = next((at for at in range(place - 1, -1, -1) if shared[at].input_tokens >= longest), None)
        if donor is not None:
            shared[donor] = replace(shared[donor], prefix=PREFIX, prefix_tokens=longest)
    return shared
