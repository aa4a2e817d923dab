"""The batch command: every prompt has its record, whatever ends it, and no key is written anywhere."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from probes.batch.__main__ import address
from probes.batch.driver import MOST_AT_ONCE, bounded
from probes.batch.outcomes import Outcomes, lines
from probes.batch.record import BLANK, Record, parsed
from probes.columns import markdown
from probes.errors import EnginescopeError
from probes.prompts.files import read
from tests.probes.batch.batchclient import KEY, ROOT, settings
from tests.probes.client.stub_server import Stub, serving
from tests.probes.client.stub_streams import STREAMS
from tests.shells import until


@pytest.mark.parametrize(
    ("typed", "mode", "url"),
    [
        ("localhost:8000", "chat", "http://localhost:8000/v1/chat/completions"),
        ("http://h:8000/v1/", "completion", "http://h:8000/v1/completions"),
        ("https://h/llm/v2", "chat", "https://h:443/llm/v2/chat/completions"),
        ("http://[::1]:8000/v1/chat/completions", "chat", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_addresses(typed: str, mode: str, url: str) -> None:
    assert address(typed, mode)[0] == url


# Runs the batch with 2 GiB of address space: what reserves a slot for each of millions ends in a MemoryError.
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
sys.argv[0] = "probes.batch"
runpy.run_module("probes.batch", run_name="__main__", alter_sys=True)
"""


def batch(*words: object, key: str | None = None, slow_disk: bool = False) -> list[str]:
    start = ["-m", "probes.batch"] if not slow_disk else [str(ROOT / "tests/probes/batch/slow_records.py")]
    return [sys.executable, *start, "--model", "m", *map(str, words), *(["--api-key", key] if key else [])]


def finished(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(batch(*words, **options), cwd=ROOT, capture_output=True, text=True, timeout=120)


def records_of(path: Path) -> list[Record]:
    return [record for line in lines(path) if (record := parsed(line, path))]


def written(path: Path) -> list[Record]:
    records = records_of(path)
    assert len(records) == sum(1 for _ in lines(path))
    return records


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"prompt {number}\n" for number in range(1, 101)))
    return path


def test_the_command(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", out, "--stream", "--max-tokens", 7)
    done = finished(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 of 100 prompts answered" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Wrote {out} and {out}.columns.md; python -m probes.report {out}"
    assert sorted(record.line for record in written(out)) == list(range(1, 101))
    again = finished(*words)
    assert again.returncode == 2 and "--resume" in again.stderr and len(written(out)) == 100
    more = finished(*words, "--resume")
    assert more.returncode == 0 and "0 of 0 prompts answered (100 answered before)" in more.stdout


def test_prompts_are_sent_again_with_what_was_set_for_all(server: tuple[Stub, str], tmp_path: Path) -> None:
    source, out = tmp_path / "prompts.txt", tmp_path / "out.jsonl"
    source.write_text("one\n\ntwo\n")
    words = ("--input", source, "--output", out, "--base-url", f"{server[1]}/ok", "--concurrency", 1, "--repeat")
    done = finished(*words, 2, "--temperature", 0, "--top-p", 0.5)
    assert done.returncode == 0 and "4 of 4 prompts answered" in done.stdout
    assert [(each.id, each.line) for each in written(out)] == [("1", 1), ("3", 3), ("1#2", 4), ("3#2", 6)]
    assert len({each.line_crc32 for each in written(out)}) == 2
    asked = settings("http://h", "ok", temperature=0.0, top_p=0.5).body(next(read(source)))
    assert json.loads(asked).items() >= {"temperature": 0.0, "top_p": 0.5}.items()
    more = finished(*words, 3, "--resume")
    assert more.returncode == 0 and "2 of 2 prompts answered (4 answered before)" in more.stdout


def test_failed_prompts_make_code_3_and_are_sent_again(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--retries", 0, "--base-url")
    done = finished(*words, f"{server[1]}/always_500")
    assert done.returncode == 3 and "100 failed (server 100)" in done.stdout
    with out.open("a") as file:
        file.write('foreign\n{"schema":2,"id":"7","li')
    done = finished(*words, f"{server[1]}/ok", "--resume")
    assert done.returncode == 0
    first, *rest = lines(out)
    assert first == b"foreign\n"  # a line of someone else's stays
    records = [parsed(line, out) for line in rest]
    assert sorted(record.line for record in records if record and record.ok) == list(range(1, 101))
    assert finished(*words, f"{server[1]}/ok", "--resume").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.columns.md", "prompts.txt"]
    assert markdown(Record) in (tmp_path / "out.jsonl.columns.md").read_text()


def test_a_summary_says_each_class_with_the_first_ones_words(
    server: tuple[Stub, str], tmp_path: Path, hundred: Path
) -> None:
    words = ("--input", hundred, "--output", tmp_path / "out.jsonl", "--base-url", f"{server[1]}/no_model")
    done = finished(*words)
    assert done.returncode == 3 and "0 of 100 prompts answered" in done.stdout
    line = "  client 100, the first: 404: The model `m` does not exist.; valid names: smollm2, qwen"
    assert line in done.stdout.splitlines()


def test_tokens_that_a_server_does_not_count(server: tuple[Stub, str], tmp_path: Path) -> None:
    """A rate over the answers that have a count is the least of all: no count is no 0."""
    kinds = [each.kind for each in STREAMS]
    counted, silent = kinds.index("several tokens in a chunk"), kinds.index("no usage at all: tokens are not known")
    (tmp_path / "prompts.txt").write_text(f"{counted}\n{silent}\n")
    words = ("--input", tmp_path / "prompts.txt", "--output", tmp_path / "out.jsonl", "--stream")
    done = finished(*words, "--base-url", f"{server[1]}/odd")
    assert done.returncode == 0 and "at least (1 answers have no count) " in done.stdout


def test_records_of_another_schema_are_not_resumed(tmp_path: Path, hundred: Path) -> None:
    (tmp_path / "out.jsonl").write_text('{"schema":1,"id":"1","line":1,"ok":true}\n')
    done = finished("--base-url", "h:1", "--input", hundred, "--output", tmp_path / "out.jsonl", "--resume")
    assert done.returncode == 2 and "holds records of schema 1" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("concurrency", [2_000_000, 100_000_000])
def test_no_more_slots_than_prompts(server: tuple[Stub, str], tmp_path: Path, hundred: Path, concurrency: int) -> None:
    words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", tmp_path / "out.jsonl")
    start = [sys.executable, "-c", LIMITED, *map(str, (*words, "--model", "m", "--concurrency", concurrency))]
    done = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "100 of 100 prompts answered" in done.stdout


def test_more_slots_than_can_be_are_said_to_be_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    assert bounded(settings("http://h", "ok", concurrency=10**8), 10**9).concurrency <= MOST_AT_ONCE
    assert "prompts at a time, which is the most here" in capsys.readouterr().err
    assert bounded(settings("http://h", "ok", concurrency=10**8), 3).concurrency == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [("--concurrency", "100000000"), ("--rate", "1000000000")])
def test_sigterm_ends_a_batch_that_sends_as_much_as_it_can(tmp_path: Path, words: tuple[str, str]) -> None:
    (tmp_path / "many.txt").write_text("prompt\n" * 10_000)
    command = ("--input", tmp_path / "many.txt", "--output", tmp_path / "out.jsonl", "--stream", *words)
    with (
        serving() as (stub, url),
        subprocess.Popen(
            batch(*command, "--base-url", f"{url}/silent"), cwd=ROOT, stdout=-3, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        until(lambda: stub.heads)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "continue with --resume" in said and "Traceback" not in said


def test_a_full_output(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    """The records are written first; then one line says that the summary could not be."""
    words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", tmp_path / "out.jsonl")
    with open("/dev/full", "w") as full:
        done = subprocess.run(batch(*words), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")
    assert len(written(tmp_path / "out.jsonl")) == 100


@pytest.mark.parametrize("output", ["/dev/full", "/dev/zero"])
def test_an_output_without_end_is_refused(hundred: Path, output: str) -> None:
    done = finished("--base-url", "h:1", "--input", hundred, "--output", output)
    assert done.returncode == 2 and "not a regular file" in done.stderr and done.stderr.count("\n") == 1


def test_a_changed_input_is_not_resumed(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", out)
    assert finished(*words).returncode == 0
    assert "was made with stream False" in finished(*words, "--resume", "--stream").stderr
    hundred.write_text(hundred.read_text().replace("prompt 50\n", "another\n"))
    done = finished(*words, "--resume")
    assert done.returncode == 1 and "line 50 of the input is not the one" in done.stderr


def test_a_file_of_someone_elses_is_not_resumed(server: tuple[Stub, str], hundred: Path) -> None:
    before = hundred.read_text()
    done = finished("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", hundred, "--resume")
    assert done.returncode == 2 and "is no file of records" in done.stderr and hundred.read_text() == before


def test_a_first_record_that_is_torn_is_resumed(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    (tmp_path / "out.jsonl").write_text('{"sche')
    words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", tmp_path / "out.jsonl", "--resume")
    assert finished(*words).returncode == 0
    assert len(written(tmp_path / "out.jsonl")) == 100


def test_two_batches_do_not_share_a_file(tmp_path: Path) -> None:
    one = Outcomes(tmp_path / "out.jsonl", None)
    with pytest.raises(EnginescopeError, match="another batch"):
        Outcomes(tmp_path / "out.jsonl", None)
    one.close()
    Outcomes(tmp_path / "out.jsonl", None).close()


@pytest.mark.slow(45)
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_instant(server: tuple[Stub, str], tmp_path: Path, hundred: Path, seed: int) -> None:
    """Killed again and again, on a disk that takes a few bytes at a time: nothing is lost, nothing is there twice."""
    out, chance, sizes = tmp_path / "out.jsonl", random.Random(seed), [0]
    words = ("--base-url", f"{server[1]}/slow", "--input", hundred, "--output", out, "--resume", "--concurrency", 8)
    while True:
        with subprocess.Popen(batch(*words, "--stream", slow_disk=True), cwd=ROOT, stdout=-3, stderr=-3) as process:
            try:
                code = process.wait(0.5 + 1.5 * chance.random() if len(sizes) < 6 else 60)
            except subprocess.TimeoutExpired:
                process.kill()
                code = None
        records = [record for record in records_of(out) if record.ok] if out.exists() else []
        assert len(records) >= sizes[-1], "a record that was there is gone"
        sizes.append(len(records))
        if code is not None:
            break
    assert code == 0
    assert Counter(record.line for record in written(out)) == Counter(range(1, 101))
    assert all(record.text.startswith(f"prompt {record.line}: ") for record in written(out))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(server: tuple[Stub, str], tmp_path: Path, hundred: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--concurrency", 3, "--base-url")
    with subprocess.Popen(
        batch(*words, f"{server[1]}/slow"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: out.exists() and out.stat().st_size >= 2000)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in said and "Traceback" not in said
    cancelled = [record for record in written(out) if not record.ok]
    assert 1 <= len(cancelled) <= 3 and {record.error_type for record in cancelled} == {"cancelled"}
    assert finished(*words, f"{server[1]}/ok", "--resume").returncode == 0
    assert Counter(record.line for record in written(out)) == Counter(range(1, 101))


def test_the_server_is_killed_half_way(tmp_path: Path, hundred: Path) -> None:
    """What was in flight fails with its reason, what came later finds nobody; afterwards the batch can be completed."""
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--stream", "--retries", 1, "--base-url")
    command = [sys.executable, "-m", "tests.probes.client.stub_server", "--think-s", "0.1", "--interval-s", "0.02"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as stub:
        assert stub.stdout
        port = int(stub.stdout.readline())
        with subprocess.Popen(batch(*words, f"127.0.0.1:{port}"), cwd=ROOT, stdout=-3) as process:
            until(lambda: out.exists() and out.stat().st_size >= 15_000)
            stub.kill()
            assert process.wait(60) == 3
    records = written(out)
    assert Counter(record.line for record in records) == Counter(range(1, 101))
    assert {record.error_type for record in records if not record.ok} == {"connect"}
    assert 20 <= sum(record.ok for record in records) < 100
    with serving() as (_, url):
        assert finished(*words, f"{url}/ok", "--resume").returncode == 0
    assert all(record.ok for record in written(out))


def test_a_full_disk(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        out = small / "out.jsonl"
        words = ("--base-url", f"{server[1]}/ok", "--input", hundred, "--output", out)
        done = finished(*words)
        assert done.returncode == 1 and "No space left on device" in done.stderr and "--resume" in done.stderr
        assert "Traceback" not in done.stderr
        held = written(out)
        assert 10 < len(held) < 100
        subprocess.run(["mount", "-o", "remount,size=1m", str(small)], check=True)
        assert finished(*words, "--resume").returncode == 0
        assert Counter(record.line for record in written(out)) == Counter(range(1, 101))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_key_goes_to_the_server_and_nowhere_else(server: tuple[Stub, str], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    for number, way in enumerate(("tells_key", "says_key")):
        out = tmp_path / f"out{number}.jsonl"
        words = ("--base-url", f"{server[1]}/{way}", "--input", tmp_path / "one.txt", "--output", out)
        done = finished(*words, key=KEY)
        assert f"Bearer {KEY}" in server[0].heads[-1].decode()
        (record,) = written(out)
        assert KEY not in done.stdout + done.stderr + out.read_text()
        assert BLANK in (record.error_msg or record.text)


def test_the_key_is_not_on_the_command_line_for_long(server: tuple[Stub, str], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    words = ("--base-url", f"{server[1]}/silent", "--input", tmp_path / "one.txt", "--output", tmp_path / "out.jsonl")
    seen = len(server[0].heads)
    with subprocess.Popen(batch(*words, key=KEY), cwd=ROOT, stdout=-3, stderr=-3) as process:
        until(lambda: len(server[0].heads) > seen)
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
    assert b"probes.batch" in line and b"api-key" not in line and KEY.encode() not in line


def test_a_key_with_a_line_break_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    environment = {**os.environ, "OPENAI_API_KEY": f"{KEY}\nHost: elsewhere"}
    words = batch("--base-url", "h:1", "--input", tmp_path / "one.txt", "--output", tmp_path / "out.jsonl")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2 and KEY not in done.stderr and not (tmp_path / "out.jsonl").exists()


NEVER = (("--rate", "0"), ("--timeout", "-1"), ("--retries", "-1"), ("--concurrency", "0"))
NOR = (("--temperature", "-1"), ("--top-p", "2"), ("--repeat", "0"))


@pytest.mark.parametrize("words", [*NEVER, *NOR])
def test_settings_that_cannot_be(tmp_path: Path, words: tuple[str, str]) -> None:
    done = finished("--base-url", "h:1", "--input", tmp_path / "x", "--output", tmp_path / "out.jsonl", *words)
    assert done.returncode == 2 and words[0] in done.stderr
