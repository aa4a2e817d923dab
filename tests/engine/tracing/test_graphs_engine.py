"""CUDA graphs as vLLM's own dispatcher answers, recorded at Model Runner V1's own function; there is no device."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.recording import record_program
from tracing import timeline

pytestmark = [pytest.mark.engine, pytest.mark.slow(30)]


def test_what_the_dispatcher_answers_is_recorded(tmp_path: Path) -> None:
    trace = record_program("dispatching", tmp_path / "trace", options=("--partial",))
    lines = [line.split() for line in trace.completed.stdout.splitlines() if line[:1].isdigit()]
    answers = [(int(step), mode, int(tokens)) for step, mode, tokens in lines]
    assert answers == [
        (0, "FULL", 1),
        (1, "FULL", 4),
        (2, "FULL", 8),
        (3, "PIECEWISE", 8),
        (4, "PIECEWISE", 16),
        (5, "NONE", 18),
    ], trace.completed.stderr[-3000:]
    read = timeline.read(trace.folder)
    spans = read.spans[read.spans["site"] == "graph.dispatch"]
    calls = [(span.step, read.texts[span.pid, span.extra], span.value) for span in spans.itertuples()]
    assert calls == answers
