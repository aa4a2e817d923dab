"""A baseline that has no memory left in the middle of a run: its requests fail, why is told, and the run ends."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from offline.load.folder import read_load_run, read_rates, read_requests, start_folders
from tests.needs import needs_vllm
from tests.offline.load.loading import ROOT, only_run, processes_of, small
from tests.shells import until

pytestmark = [needs_vllm, pytest.mark.slow(20)]


def test_requests_of_batches_without_memory_fail_and_the_reason_is_told(tmp_path: Path) -> None:
    words = small("--rates", "20", "--variants", "torch-baseline", "--out", str(tmp_path))
    command = [sys.executable, "-m", "offline.load", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: process.poll() is not None or list(tmp_path.glob("*/load/*/starts/*/rates.jsonl")))  # one at a time
    (baseline,) = (each for each in processes_of(tmp_path) if "torchbaseline" in " ".join(each.cmdline()))
    resource.prlimit(baseline.pid, resource.RLIMIT_AS, (baseline.memory_info().vms,) * 2)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in text, text
    folder = only_run(tmp_path)
    (start,) = start_folders(folder)
    _, rate = read_rates(start)
    errors = [each.error for each in read_requests(start) if each.finish == "failed"]
    assert rate.finished + rate.unfinished + rate.failed == rate.scheduled and rate.failed == len(errors) > 0
    assert f"{rate.failed} failed (RuntimeError: " in text and all(error and "Error: " in error for error in errors)
    assert read_load_run(folder).state == "complete" and processes_of(tmp_path) == []
