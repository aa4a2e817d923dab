"""A start that came to no end: each phase is named, with what helps there."""

from __future__ import annotations

import pytest

from probes.serve.faults.diagnosis import TOO_LATE, Diagnosis, diagnose
from probes.serve.hung import BY_PHASE, WHO_WAITS, hung_in, with_phase
from probes.serve.process import PHASES, NotReady

LOADS = "(Worker_TP0 pid=3) INFO 11-21 11:27:41 [gpu_model_runner.py:68] Starting to load model m...\n"


@pytest.mark.parametrize(
    ("doing", "last", "phase", "remedy"),
    [
        ("loads the weights", LOADS, "loads the weights", "copy the model to a local one"),
        (
            "loads the weights",
            "model-00001-of-4.safetensors:  12%|#2  | 600M/4.9G\r",
            "the download",
            "hf download",
        ),
        ("loads the weights", "Fetching 4 files:   0%|   | 0/4 [00:00<?, ?it/s]", "the download", "HF_ENDPOINT"),
        (
            "starts the workers",
            "(Worker_TP1 pid=8) INFO 11-21 11:27:41 [pynccl.py:111] vLLM is using nccl==2.27.3",
            "connecting the cards (NCCL)",
            "NCCL_DEBUG=INFO",
        ),
        ("compiles", "INFO 11-21 11:27:41 [backends.py:5] Dynamo bytecode transform time: 8 s", "compiles", "minutes"),
        ("captures CUDA graphs", "Capturing CUDA graphs:  12%|#2 | 8/67", "captures CUDA graphs", "max_num_seqs"),
        ("starts the HTTP server", "", "starts the HTTP server", WHO_WAITS),
    ],
)
def test_the_phase_and_what_helps(doing: str, last: str, phase: str, remedy: str) -> None:
    named, helps = hung_in(doing, "an earlier line\n" + last)
    assert named.startswith(phase) and remedy in helps


def test_every_phase_with_a_remedy_is_one_that_a_log_begins() -> None:
    assert {*BY_PHASE} <= {name for _, name in PHASES} | {"imports vLLM"}


def test_only_a_time_out_without_a_known_cause_is_hung() -> None:
    late, dead = NotReady(None, "compiles"), NotReady(1, "compiles")
    unknown = diagnose("", late, 8000, False)
    assert unknown.cause == TOO_LATE
    assert (
        with_phase(unknown, late, "", 60).cause == "it hung in this phase: compiles; for 60 s its log had no new line"
    )
    known = Diagnosis("", "port in use", "another", [])
    assert with_phase(known, late, "", 60) is known and with_phase(unknown, dead, "", 60) is unknown
