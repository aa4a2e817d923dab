"""The errors of a log and the one that all began with."""

from __future__ import annotations

from probes.serve.faults.diagnosis import read_errors
from probes.serve.faults.errors import KEPT, Errors
from probes.serve.faults.likelycause import likely_cause

CHAIN = """\
Traceback (most recent call last):
  File "/v/hub.py", line 1, in get
FrobError: the disk is made of cheese
The above exception was the direct cause of the following exception:
Traceback (most recent call last):
  File "/v/config.py", line 2, in load
RuntimeError: could not load
"""
WORKERS = """\
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1) OSError: tried the first way, and went on with the second
(Worker_TP0 pid=3) ERROR 03-05 09:56:09 [multiproc_executor.py:880] WorkerProc failed to start.
(Worker_TP0 pid=3) ERROR 03-05 09:56:09 [multiproc_executor.py:880] Traceback (most recent call last):
(Worker_TP0 pid=3) ERROR 03-05 09:56:09 [multiproc_executor.py:880] FrobError: no frobs on this card
(Worker_TP1 pid=4) ERROR 03-05 09:56:09 [multiproc_executor.py:880] WorkerProc failed to start.
(Worker_TP1 pid=4) ERROR 03-05 09:56:09 [multiproc_executor.py:880] Traceback (most recent call last):
(Worker_TP1 pid=4) ERROR 03-05 09:56:09 [multiproc_executor.py:880] ConnectionError: the other side is gone
(EngineCore pid=2) ERROR 03-05 09:56:10 [core.py:1000] Exception: WorkerProc initialization failed due to an exception
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_first_of_a_chain_is_the_root() -> None:
    assert read_errors(CHAIN).root == "FrobError: the disk is made of cheese"


def test_an_exception_that_was_got_over_is_no_root() -> None:
    assert read_errors(CHAIN.replace("The above", "Later, the above")).root == "RuntimeError: could not load"


def test_the_root_is_the_first_after_a_process_failed() -> None:
    errors = read_errors(WORKERS)
    assert errors.root == "FrobError: no frobs on this card"
    assert errors.lines[-1].startswith("RuntimeError: Engine core initialization failed")


def test_pydantics_message_is_part_of_the_root() -> None:
    log = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, frobs must be even [type=value_error]\n"
        "    For further information visit https://errors.pydantic.dev\n"
    )
    assert (read_errors(log).root or "").endswith(
        "1 validation error for ModelConfig Value error, frobs must be even [type=value_error] For further information "
        "visit https://errors.pydantic.dev"
    )


def test_lines_of_another_process_do_not_finish_pydantics() -> None:
    errors = Errors()
    for words, process in (
        ("pydantic_core.ValidationError: 1 validation error", "APIServer"),
        ("RuntimeError: elsewhere", "EngineCore"),
        ("  Value error, frobs", "APIServer"),
        ("  [type=x]", "APIServer"),
    ):
        errors.add(words, process)
    assert errors.lines == [
        "RuntimeError: elsewhere",
        "pydantic_core.ValidationError: 1 validation error Value error, frobs [type=x]",
    ]


def test_the_errors_of_a_long_life_are_bounded() -> None:
    errors = Errors()
    for number in range(3 * KEPT):
        errors.add(f"ValueError: request {number}")
    assert len(errors.lines) == KEPT and errors.lines[-1] == f"ValueError: request {3 * KEPT - 1}"


def test_a_general_cause_does_not_speak_for_a_root_of_another_kind() -> None:
    lines = ["Detected different devices in the system: A, B", "FrobError: no frobs"]
    assert likely_cause("FrobError: no frobs", lines, {}) is None
    found = likely_cause(None, lines, {})
    assert found is not None and "not all of one kind" in found.cause


def test_a_cause_that_follows_from_another_does_not_speak_first() -> None:
    root = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    found = likely_cause(root, [root, "RuntimeError: NCCL error: unhandled cuda error"], {})
    assert found is not None and found.cause == "out of memory on the GPU"
