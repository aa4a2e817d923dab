"""A running engine looked at from outside: recorded while it stands by, its ring watched, and read after its death."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from probes.checkpoint import two_layer_model
from probes.privacy.secretvalues import is_secret
from probes.processes.group import end_group
from tests.engine.recording import FORKED, LIMIT_S, ROOT
from tests.engine.traced.talking import TRACEPARENT
from tests.shells import until
from tests.tracing.otlp.receiver import PATH, Collector, attributes, collector
from tracing.attach.engine import standing_engine
from tracing.breakdown.findings import Findings, findings
from tracing.kept.keeping import kept
from tracing.otlp.exporter import NAME
from tracing.sites.engine import REQUEST_ID, REQUEST_SPAN

BY_HTTP = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
OF_REQUEST, OF_STEP = "ttft > 1us", "step > 1us"  # each is met at once
pytestmark = [pytest.mark.engine, pytest.mark.slow(60)]


@contextmanager
def talking(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """An engine with streams that never end, in a process group of its own."""
    script = ROOT / "tests" / "engine" / "traced" / "talking.py"
    public = {name: value for name, value in os.environ.items() if not is_secret(name, value)}
    child = subprocess.Popen(
        [sys.executable, str(script), str(two_layer_model()), *arguments],
        cwd=ROOT,
        env=public | FORKED | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    folder: Path | None = None
    try:
        assert "ready\n" in iter(child.stdout.readline, "")
        engine = standing_engine(child.pid)
        assert engine is not None
        folder = engine.folder
        yield child
    finally:
        end_group(child.pid)
        child.stdout.close()
        child.wait(LIMIT_S)
        if folder:
            shutil.rmtree(folder)


class Commands:
    """The commands as they are typed, in this process: an interpreter for each would take longer than they do."""

    def __init__(self, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self._patch, self._output = patch, output

    def run(self, name: str, *arguments: str) -> str:
        """What it prints."""
        self._patch.setattr(sys, "argv", [name, *arguments])
        code = import_module(f"tracing.{name}.__main__").main()
        output, errors = self._output.readouterr()
        assert code == 0, errors
        return output

    def attach(self, pid: int, folder: Path, *options: str, most_torn: int = 0) -> Findings:
        """What is found in the folder that `tracing.attach` leaves; nothing of it got lost."""
        self.run("attach", str(pid), "--out", str(folder), *options)
        recorded = findings(folder)
        assert recorded.review.dropped_spans == 0 and recorded.review.torn_spans <= most_torn
        return recorded


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


def starts_late(recorded: Findings) -> list[str]:
    return [flow.external for flow in recorded.flows if flow.missing == ("the start of it",)]


def ended(recorded: Findings) -> int:
    return sum(flow.state == "finished" for flow in recorded.flows)


def below_own(received: Collector) -> int:
    """How many requests hang below vLLM's own span of the same request, which has their header's trace."""
    own = {span.span_id: span for span in received.named(REQUEST_SPAN)}
    ours = [span for span in received.named(NAME) if span.parent_span_id in own]
    for span in ours:
        parent, request = own[span.parent_span_id], attributes(span)[REQUEST_ID]
        assert attributes(parent)[REQUEST_ID] == request and span.trace_id == parent.trace_id
        assert (span.trace_id.hex() == TRACEPARENT.split("-")[1]) == request.startswith("talker-0-")
    return len(ours)


def test_an_engine_that_stands_by_is_recorded_twice(commands: Commands, tmp_path: Path) -> None:
    with talking(ENGINESCOPE="standby") as engine:
        recordings = [commands.attach(engine.pid, tmp_path / str(number), "--seconds", "4") for number in range(2)]
    for recorded in recordings:
        assert ended(recorded) >= 1  # how many end in four seconds is the machine's affair
        share = recorded.review.unexplained_share_median
        assert share is not None and share < 0.03
        early = starts_late(recorded)
        assert 5 <= len(early) <= 9  # of nine streams, some may lie between two calls
        lines = [
            line
            for line in recorded.review.problems
            if "requests already in progress when the recording began" not in line
        ]
        assert [line.partition(" ")[2] for line in lines] == [
            "requests still in progress when the recording ended: cut at the end"
        ]


def test_a_ring_is_watched_kept_and_outlives_the_engine(commands: Commands, tmp_path: Path) -> None:
    """All of it is there, the long request's beginning too."""
    kept_folder = tmp_path / "kept"
    ring = {"ENGINESCOPE_RING": "120s"}  # more than the test takes: it does not turn over
    with collector() as received, talking(received.url + PATH, **BY_HTTP, **ring) as engine:
        commands.run("attach", str(engine.pid), "--otlp", received.url, "--seconds", "6")
        lines = commands.run("top", str(engine.pid), "--seconds", "6").splitlines()
        for condition in (OF_REQUEST, OF_STEP):
            commands.run("attach", str(engine.pid), "--keep", condition, "--seconds", "4", "--out", str(kept_folder))
        live = commands.attach(engine.pid, tmp_path / "live", "--dump")
        until(lambda: below_own(received) >= 1)
        engine.kill()
        engine.wait(LIMIT_S)
        dead = commands.attach(engine.pid, tmp_path / "dead", "--dump", most_torn=1)  # what it was writing when killed
    running = [int(number) for line in lines for number in re.findall(r", running (\d+),", line)]
    assert running and set(running) <= set(range(1, 10)), lines  # those that have just ended are not among them
    keeps = {keep.condition: keep for _, keep in kept(kept_folder)}
    assert keeps[OF_REQUEST].request.startswith("talker-") and keeps[OF_STEP].step > 0
    table = commands.run("kept", str(kept_folder))
    assert keeps[OF_REQUEST].request in table and f"step {keeps[OF_STEP].step}" in table
    assert ended(live) >= 8 and starts_late(live) == []
    assert ended(dead) >= ended(live)
    assert any("the front end died" in line for line in dead.review.problems)
