"""Sends the requests for whose sake something was kept."""

from __future__ import annotations

import sys
from pathlib import Path

from probes.errors import EnginescopeError
from tracing import timeline
from tracing.kept.keeping import Keep
from tracing.otlp.exporter import Exporter
from tracing.timeline.index import Index
from tracing.timeline.requests import Flow, flows


def send(exporter: Exporter, folder: Path, keep: Keep) -> None:
    """Send them from a folder that was kept; what goes wrong is said, and is no end of the watch."""
    try:
        index = Index(timeline.read(folder))
        for flow in flows(index):
            if flow.is_whole and concerns(keep, flow):
                exporter.add(index, flow)
        exporter.flush()
    except EnginescopeError as error:
        print(error, file=sys.stderr, flush=True)


def concerns(keep: Keep, flow: Flow) -> bool:
    """Whether a request is the one that fired, or was in the step that did."""
    if keep.request:
        return keep.request in flow.names
    return keep.step >= 0 and keep.step in flow.steps
