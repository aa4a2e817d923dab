"""The reason in an engine's log: the first exception that says something itself."""

from __future__ import annotations

import pytest

from probes.processes.log import first_reason, refuses

REFUSED = """\
INFO 11-21 03:46:20 [config.py:12] Using max model len 128
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] EngineCore failed to start.
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] Traceback (most recent call last):
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099]   File "/v/core.py", line 88, in run_engine_core
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099]     raise ValueError(f"No common block size for {size}")
(EngineCore pid=5952) ERROR 11-21 03:46:24 [core.py:1099] ValueError: No common block size for 16 (CPU_ATTN: \
[MultipleOf(32)]).
(EngineCore pid=5952) Process EngineCore:
(EngineCore pid=5952) Traceback (most recent call last):
(EngineCore pid=5952) ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).
Traceback (most recent call last):
  File "/v/arm.py", line 88, in serve
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
WORKER = """\
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] WorkerProc failed to start.
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] Traceback (most recent call last):
(Worker pid=77) ERROR 11-21 03:46:24 [multiproc_executor.py:800] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB
(EngineCore pid=70) ERROR 11-21 03:46:25 [core.py:1099] Exception: WorkerProc initialization failed due to an exception
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}
"""
PYDANTIC = """\
Traceback (most recent call last):
  File "/v/arm.py", line 30, in start
pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig
  Value error, kv_cache_memory_bytes must be positive [type=value_error, input_value=ArgsKwargs(()), input_type=X]
    For further information visit https://errors.pydantic.dev/2.12/v/value_error
"""
SAFETENSORS = """\
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800]     with safe_open(st_file, framework="pt") as f:
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800]          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
(Worker pid=8) ERROR 11-21 03:46:24 [multiproc_executor.py:800] safetensors_rust.SafetensorError: Error while \
deserializing header: incomplete metadata, file not fully covered
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (REFUSED, "ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)])."),
        (WORKER, "OutOfMemoryError: CUDA out of memory. Tried 2 GiB"),
        (
            SAFETENSORS,
            "SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
        ),
        ("KeyboardInterrupt\nSystemExit: 1\n", None),
        ("AssertionError\nRuntimeError: the cause\n", "RuntimeError: the cause"),
        ("an Error: in a sentence\nINFO 11-21 03:46:24 [a.py:1] no ValueError: here\n", None),
        ("RuntimeError: Engine core initialization failed. See root cause above.\n", None),
        ("", None),
    ],
)
def test_the_first_reason_of_a_log(log: str, reason: str | None) -> None:
    assert first_reason(log) == reason


def test_a_validation_error_says_itself_on_the_next_line() -> None:
    reason = first_reason(PYDANTIC)
    assert reason is not None
    assert reason.startswith(
        "ValidationError: 1 validation error for CacheConfig Value error, kv_cache_memory_bytes must be positive"
    )


def test_a_validation_error_does_not_send_its_reader_to_the_manual() -> None:
    assert "errors.pydantic.dev" not in (first_reason(PYDANTIC) or "")


def test_a_reason_has_an_end() -> None:
    assert len(first_reason("ValueError: " + "x" * 9999) or "") == 500


@pytest.mark.parametrize(
    ("reason", "no"),
    [
        ("ValueError: No common block size for 16", True),
        ("pydantic_core.ValidationError: kv_cache_memory_bytes must be positive", True),
        ("OutOfMemoryError: CUDA out of memory. Tried 2 GiB", False),
        ("RuntimeError: ValueError: told by another", False),
    ],
)
def test_a_no_to_a_configuration_is_no_failure(reason: str, no: bool) -> None:
    assert refuses(reason) == no
