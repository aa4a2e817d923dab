"""Sends the requests of a running engine as they end, for as long as somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from probes.errors import EnginescopeError, terminable
from tracing.attach.engine import StandingEngine
from tracing.attach.switch import NS_PER_S
from tracing.attach.window import LastSeconds
from tracing.otlp.exporter import Exporter
from tracing.timeline.index import Index
from tracing.timeline.requests import NO_START, Flow, flows
from tracing.timeline.spans import Timeline, assembled

PERIOD_S = 5.0
LONGEST_S = 60.0  # requests that take longer are left out
MARGIN_NS = NS_PER_S  # what belongs to a request is written within this time of its end


class RequestStream:
    """The requests of an engine, sent once each; `sent` and `left_out` count them."""

    def __init__(self, engine: StandingEngine, exporter: Exporter) -> None:
        self.engine, self.exporter = engine, exporter
        self.window = LastSeconds(engine.folder, LONGEST_S)
        self.sent = self.left_out = 0
        self._whole: set[str] = set()  # in the last window
        self._late: set[str] = set()

    def run(self, until_ns: int) -> None:
        """Send until a moment of CLOCK_MONOTONIC, Ctrl-C, or the end of the engine."""
        with suppress(KeyboardInterrupt), terminable():
            self.look()
            while time.monotonic_ns() < until_ns and self.engine.lives():
                time.sleep(max(0.0, min(PERIOD_S, (until_ns - time.monotonic_ns()) / NS_PER_S)))
                self.look()

    def look(self) -> None:
        """Send what has ended since the last look; what the receiver does not take is lost, and said."""
        self.window.look()
        if files := self.window.files():
            self._read(assembled(self.engine.folder, files))
        try:
            self.exporter.flush()
        except EnginescopeError as error:
            print(error, file=sys.stderr, flush=True)

    def _read(self, recorded: Timeline) -> None:
        index = Index(recorded)
        requests = flows(index)
        whole = {flow.request: flow for flow in requests if flow.is_whole}
        new = [flow for name, flow in whole.items() if name not in self._whole]
        self.sent += sum(self.exporter.add(index, flow) for flow in new)
        early = [flow.request for flow in requests if flow.missing == NO_START]
        late = {name for name in early if len(index.rows(name, "scheduler.free"))} - self._whole
        self.left_out += len(late - self._late)
        self._whole, self._late = set(whole) | (self._whole & set(early)), late
        self.window.forget_before(min(self.window.end_ns - MARGIN_NS, *_begun(requests), self.window.end_ns))


def _begun(requests: Sequence[Flow]) -> list[int]:
    """When those began that go on."""
    return [flow.start_ns for flow in requests if flow.state == "cut" and flow.missing != NO_START]
