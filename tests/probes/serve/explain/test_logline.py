"""A line's time, process and words, whatever stands before them; files of any size."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from probes.serve.explain.logline import BLOCK_BYTES, WIDTH_BYTES, parse, read_lines

WORDS = "Loading weights took 2.51 seconds"
VLLM = "INFO 11-26 12:00:01 [default_loader.py:502] "


@pytest.mark.parametrize(
    ("prefix", "process"),
    [
        ("", ""),
        (VLLM, ""),
        (f"(EngineCore_DP1 pid=7) {VLLM}", "EngineCore_DP1"),
        (f"(Worker pid=9) (Worker_TP3 pid=9) {VLLM}", "Worker_TP3"),
        (f"(VllmWorker rank=2 pid=9) {VLLM}", "VllmWorker 2"),
        ("[rank3]: ", "rank3"),
        (f"vllm-1  | (EngineCore pid=7) {VLLM}", "EngineCore"),
        (f"[pod/vllm-0/vllm] 2026-11-26T12:00:01.5Z (EngineCore pid=7) {VLLM}", "EngineCore"),
        (f"2026-11-26T12:00:01.123456789Z stdout F (EngineCore pid=7) {VLLM}", "EngineCore"),
        (
            "\x1b[0;36m(EngineCore pid=7)\x1b[0;0m \x1b[32mINFO\x1b[0m \x1b[90m11-26 12:00:01\x1b[0m [a.py:1] ",
            "EngineCore",
        ),
        ("\x1b[36m(RayWorkerWrapper pid=9, ip=10.0.0.2)\x1b[0m INFO 11-26 12:00:01 [a.py:1] ", "RayWorkerWrapper"),
        ("INFO 11-26 12:00:01 loader.py:429] ", ""),
    ],
)
def test_process_and_words(prefix: str, process: str) -> None:
    line = parse(prefix + WORDS)
    assert (line.process, line.words) == (process, WORDS)


@pytest.mark.parametrize(
    ("earlier", "later", "apart_s"),
    [
        ("INFO 11-26 12:00:01 [a.py:1] x", "INFO 11-26 12:01:02 [a.py:1] x", 61.0),
        ("2026-11-26T12:00:01.250Z x", "2026-11-26T12:00:01.500Z x", 0.25),
        ("2026-11-26T12:00:00Z x", "2026-11-26T14:00:30+02:00 x", 30.0),
        ('{"log":"x\\n","time":"2026-11-26T12:00:00.5Z"}', '{"log":"x\\n","time":"2026-11-26T12:00:02Z"}', 1.5),
        ("INFO 02-29 00:00:00 [a.py:1] x", "INFO 03-01 00:00:00 [a.py:1] x", 86400.0),
    ],
)
def test_times(earlier: str, later: str, apart_s: float) -> None:
    first, second = parse(earlier).time_s, parse(later).time_s
    assert first is not None and second is not None and second - first == pytest.approx(apart_s)


def test_a_containers_time_goes_before_vllms() -> None:
    assert parse(f"2026-11-26T08:00:00.5Z {VLLM}x").time_s == parse("2026-11-26T08:00:00.5Z x").time_s


def test_a_new_year_is_later() -> None:
    log = b"INFO 12-31 23:59:59 [a.py:1] x\nINFO 01-01 00:00:01 [a.py:1] x\n"
    before, after = (line.time_s for line in read_lines(io.BytesIO(log)))
    assert before is not None and after is not None and after > before


def test_lines_out_of_order_by_a_second_are_no_new_year() -> None:
    log = b"INFO 01-01 00:00:01 [a.py:1] x\nINFO 12-31 23:59:59 [a.py:1] x\n"
    first, second = (line.time_s for line in read_lines(io.BytesIO(log)))
    assert first is not None and second is not None


def test_progress_bars_end_with_a_return() -> None:
    bars = "Loading shards:  50%\rLoading shards: 100%\r\nINFO 11-26 12:00:01 [a.py:1] done"
    words = [line.words for line in read_lines(io.BytesIO(bars.encode()))]
    assert words == ["Loading shards:  50%", "Loading shards: 100%", "done"]


def test_a_line_over_two_blocks_is_one() -> None:
    words = [line.words for line in read_lines(io.BytesIO(b"a" * (BLOCK_BYTES - 3) + b"\nbcdefgh\ni"))]
    assert words[1:] == ["bcdefgh", "i"]


def test_a_line_without_end_is_cut_and_held_once() -> None:
    class Endless(io.RawIOBase):
        left = 64

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"x" * size if self.left else b""

    tracemalloc.start()
    (line,) = read_lines(Endless())  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(line.words) == WIDTH_BYTES and peak < 8 * BLOCK_BYTES


def test_bytes_that_are_no_text_do_not_end_the_reading() -> None:
    assert [line.words for line in read_lines(io.BytesIO(b"\xff\xfe a\nb\n"))] == ["\ufffd\ufffd a", "b"]
