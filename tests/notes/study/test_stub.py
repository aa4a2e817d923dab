"""The stub of the study plan: our own client gets from it what the days' self-checks say."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from notes.study.exercises.batchfile import PROMPTS, prompts, records
from notes.study.stub import PracticeServer, listening
from tests.notes.study.studyfiles import ROOT


def answers(troubled: bool, prompt: str, **body: object) -> tuple[list[int], str]:
    """The statuses of two requests with the same prompt, and the text of the second answer."""

    async def talk() -> tuple[list[int], str]:
        runner = await listening(PracticeServer(troubled), 0)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/completions"
        statuses, text = [], ""
        try:
            async with aiohttp.ClientSession() as session:
                for _ in range(2):
                    async with session.post(url, json={"prompt": prompt, **body}) as response:
                        statuses, text = [*statuses, response.status], await response.text()
        finally:
            await runner.cleanup()
        return statuses, text

    return asyncio.run(talk())


def test_a_healthy_stub_says_it_in_capitals() -> None:
    statuses, text = answers(False, "one two three", max_tokens=2)
    assert statuses == [200, 200] and '"text": "ONE TWO"' in text and '"completion_tokens": 2' in text
    _, events = answers(False, "one two", stream=True)
    assert re.findall(r'"text": "(\w+) "', events) == ["ONE", "TWO"] and events.endswith("data: [DONE]\n\n")


def test_a_stub_in_trouble_answers_the_second_time() -> None:
    assert answers(True, "the first prompt is sent away once")[0] == [503, 200]


@contextmanager
def stub(*options: str) -> Iterator[str]:
    """The command, and its address; Ctrl-C ends it."""
    line = [sys.executable, "-m", "notes.study", "stub", "--port", "0", *options]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert address is not None
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_port_that_is_taken_is_one_line() -> None:
    with stub() as url:
        line = [sys.executable, "-m", "notes.study", "stub", "--port", url.rpartition(":")[2]]
        result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "is in use: end an earlier stub" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(("retries", "failed"), [(0, {"server": 4, "timeout": 4, "client": 2}), (2, {"client": 2})])
def test_our_client_meets_the_failures_that_day_four_names(
    tmp_path: Path, retries: int, failed: dict[str, int]
) -> None:
    out = tmp_path / "out.jsonl"
    with stub("--trouble") as url:
        line = [sys.executable, "-m", "probes.batch", "--base-url", url, "--model", "stub", "--input", str(PROMPTS)]
        options = ["--output", str(out), "--retries", str(retries), "--timeout", "2"]
        assert subprocess.run([*line, *options], cwd=ROOT, capture_output=True, timeout=120).returncode == 3
    assert Counter(record.error_type for record in records(out, "RUNS") if not record.ok) == failed
    text = (ROOT / "notes" / "study" / "day-4.md").read_text()
    assert f"{sum(failed.values())} of {prompts()} failed" in text


def test_the_sample_has_twenty_prompts_in_several_scripts() -> None:
    text = PROMPTS.read_text(encoding="utf-8")
    assert prompts() == len(set(text.splitlines())) == 20
    scripts = {
        "Latin": r"[a-z]",
        "Han": r"[一-龥]",
        "kana": r"[ぁ-ん]",
        "Hangul": r"[가-힣]",
        "Cyrillic": r"[\u0430-\u044f]",
        "Arabic": r"[ء-ي]",
    }
    assert [name for name, letters in scripts.items() if not re.search(letters, text)] == []
