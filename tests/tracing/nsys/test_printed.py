"""What `python -m tracing.nsys` prints of a report, and what nsys's flags changed in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from probes.machine import Gpu, fingerprint
from tests.tracing.nsys.nsyscommand import run
from tests.tracing.nsys.nsysfiles import captured
from tests.tracing.stories import NS, stream
from tests.tracing.tracerecords import recorded
from tracing.breakdown.findings import findings
from tracing.page.sections import watching_lines


def test_what_is_printed(tmp_path: Path) -> None:
    stream(tmp_path, NS)
    _, report = captured(tmp_path)
    text, figures = run(str(report)).stdout, json.loads(run(str(report), "--json").stdout)
    assert "1 of 1 requests whole (1 stopped)" in text and "GPU: n/a" in text
    assert "Nsight Systems 2022.4.2.1, schema 3.0.0" in text
    assert sum(part["share"] for part in figures["budget"]) == pytest.approx(1)


def test_the_review_says_what_the_flags_changed(tmp_path: Path) -> None:
    """Beside the folder's own review, that of the report in it."""
    stream(tmp_path, NS)
    _, report = captured(tmp_path)
    on_cpu = replace(fingerprint(), gpus=())
    recorded(tmp_path, nsys=True, machine=replace(on_cpu, gpus=(Gpu("H100", "575", 2**36),)))
    graphs = "CUDA graphs, if any, were traced node by node, so their replays took longer"
    assert f"nsys's flags: {graphs}; processes that vLLM started, if any, were spawned unless" in flat(report)
    recorded(tmp_path, nsys=True, machine=on_cpu)
    assert "nsys's flags: processes that vLLM started, if any, were spawned unless" in flat(report)
    assert watching_lines(findings(tmp_path))[0].startswith("nsys's flags: processes")
    recorded(tmp_path, machine=on_cpu)
    assert "nsys's flags" not in flat(report)


def flat(report: Path) -> str:
    """What the command prints, as one line."""
    return " ".join(run(str(report)).stdout.split())
