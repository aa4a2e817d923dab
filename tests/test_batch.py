"""The batch client against a server that does everything wrong: nothing hangs or is lost, every record says why."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.attempt import Limits
from probes.batch import address
from probes.errors import EnginescopeError
from probes.outcomes import BLANK, Outcomes, lines, parsed
from probes.promptsfile import count, read
from probes.sending import Settings, arrivals, run
from tests.stub_server import REPLY, Stub, serving

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-a-secret-of-some-length"
ANSWER = "hello you: " + "".join(REPLY)
QUICK = Limits(connect_s=2, first_token_s=0.3, gap_s=0.3, total_s=5)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Stub, str]]:
    with serving() as (stub, url):
        yield stub, url


def settings(url: str, way: str, mode: str = "chat", **other: Any) -> Settings:
    given: dict[str, Any] = {
        "url": address(f"{url}/{way}/v1", mode)[0],
        "model": "m",
        "mode": mode,
        "stream": True,
        "max_tokens": None,
        "concurrency": 4,
        "rate": None,
        "arrivals": "poisson",
        "retries": 0,
        "limits": QUICK,
        "trust_env": False,
    }
    return Settings(**{**given, **other})


def ask(
    url: str, way: str, tmp_path: Path, prompts: tuple[str, ...] = ("hello you",), key: str | None = None, **other: Any
) -> list[dict[str, Any]]:
    """The records of a batch."""
    asked = settings(url, way, **other)
    path = tmp_path / f"prompts-{time.monotonic_ns()}.txt"
    path.write_text("\n".join(prompts) + "\n")
    records: list[dict[str, Any]] = []
    asyncio.run(run(asked, key, read(path, asked.mode), records.append))
    return records


def ask_one(url: str, way: str, tmp_path: Path, **other: Any) -> dict[str, Any]:
    # The stub counts requests by their body: another prompt for each test is another count.
    (record,) = ask(url, way, tmp_path, (f"hello you {time.monotonic_ns()}",), **other)
    record["text"] = record["text"].replace(record["text"][9:].split(":")[0], "") if record["ok"] else record["text"]
    return record


# --- what a good answer looks like ---


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_a_stream(server: tuple[Stub, str], tmp_path: Path, mode: str) -> None:
    (record,) = ask(server[1], "ok", tmp_path, mode=mode)
    assert record["ok"] and record["text"] == ANSWER
    assert (record["stream_chunks"], record["completion_tokens"], record["prompt_tokens"]) == (6, 6, 2)
    assert (record["status_code"], record["finish_reason"], record["attempts"]) == (200, "stop", 1)
    assert len(record["itl"]) == 5 and 0 < record["ttft_s"] < record["latency_s"] < 2
    assert record["ttft_s"] + sum(record["itl"]) == pytest.approx(record["latency_s"], abs=0.1)
    assert record["scheduled_s"] <= record["sent_s"] <= record["ended_s"]
    assert abs(record["sent_s"] - time.time()) < 60


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_no_stream(server: tuple[Stub, str], tmp_path: Path, mode: str) -> None:
    (record,) = ask(server[1], "ok", tmp_path, mode=mode, stream=False)
    assert record["ok"] and record["text"] == ANSWER
    assert (record["ttft_s"], record["itl"], record["stream_chunks"]) == (None, [], 0)
    assert record["completion_tokens"] == 6


STILL_WHOLE = ["byte_by_byte", "crlf", "comments", "one_packet", "no_done", "no_last_newline", "zipped", "open_end"]


@pytest.mark.parametrize("way", STILL_WHOLE)
def test_odd_but_whole_streams(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    (record,) = ask(server[1], way, tmp_path, limits=Limits(2, 3, 3, 5))
    assert record["error_msg"] is None and record["text"] == ANSWER
    assert (record["stream_chunks"], record["completion_tokens"], record["finish_reason"]) == (6, 6, "stop")


def test_gzip_without_a_stream(server: tuple[Stub, str], tmp_path: Path) -> None:
    assert ask(server[1], "zipped", tmp_path, stream=False)[0]["text"] == ANSWER


def test_a_line_of_50_mb(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask(server[1], "long_line", tmp_path, limits=Limits(2, 30, 30, 30))[0]
    assert record["error_msg"] is None and len(record["text"]) == 50_000_000


# --- what goes wrong: way, options, class, words of the message, attempts of three ---

ONCE, THRICE = 1, 3
FAULTS = [
    ("reset", {}, "connect", "broke after", THRICE),
    ("reset", {"stream": False}, "connect", "broke", THRICE),
    ("reset_at_once", {}, "connect", "broke before an answer", THRICE),
    ("no_http", {}, "bad_response", "no HTTP", ONCE),
    ("too_short", {"stream": False}, "connect", "broke", THRICE),
    ("silent", {}, "timeout", "until the first token", THRICE),
    ("stall_first", {}, "timeout", "until the first token", THRICE),
    ("stall_between", {}, "timeout", "between two tokens", THRICE),
    ("trickle", {"limits": Limits(2, 1, 1, 0.4)}, "timeout", "in all", THRICE),
    ("silent", {"stream": False, "limits": Limits(2, 9, 9, 0.3)}, "timeout", "in all", THRICE),
    ("always_500", {}, "server", "500: busy", THRICE),
    ("bad_gateway", {}, "server", "502: 502 Bad Gateway", THRICE),
    ("not_implemented", {}, "server", "501", ONCE),
    ("bad_request", {}, "client", "400: max_tokens is too large", ONCE),
    ("no_model", {}, "client", "404: The model `m` does not exist.", ONCE),
    ("unprocessable", {}, "client", "field required", ONCE),
    ("redirect", {}, "client", "elsewhere", ONCE),
    ("busy_an_hour", {}, "rate_limit", "429", ONCE),
    ("html", {}, "bad_response", "HTML instead of JSON: Welcome", ONCE),
    ("html_called_json", {"stream": False}, "bad_response", "HTML instead of JSON", ONCE),
    ("plain_json_for_stream", {}, "bad_response", "asked for a stream", ONCE),
    ("no_choices", {}, "bad_response", "without choices", ONCE),
    ("no_choices", {"stream": False}, "bad_response", "without choices", ONCE),
    ("cut_short", {}, "bad_response", "ended early", THRICE),
    ("broken_event", {}, "bad_response", "no valid JSON", ONCE),
    ("error_event", {}, "server", "EngineCore died", THRICE),
    ("badly_zipped", {}, "bad_response", "", ONCE),
    ("badly_zipped", {"stream": False}, "bad_response", "", ONCE),
    ("endless_line", {"limits": Limits(2, 20, 20, 20)}, "bad_response", "more than 64 MiB", ONCE),
]


@pytest.mark.parametrize(("way", "options", "kind", "words", "attempts"), FAULTS)
def test_faults(
    server: tuple[Stub, str], tmp_path: Path, way: str, options: dict, kind: str, words: str, attempts: int
) -> None:
    record = ask_one(server[1], way, tmp_path, **{"retries": 2, **options})
    assert (record["ok"], record["error_type"], record["attempts"]) == (False, kind, attempts), record["error_msg"]
    assert words in record["error_msg"] and len(record["error_msg"]) <= 300
    assert record["latency_s"] < 15


def test_nobody_there(tmp_path: Path) -> None:
    record = ask("http://127.0.0.1:1", "ok", tmp_path, retries=1)[0]
    assert (record["error_type"], record["attempts"], record["status_code"]) == ("connect", 2, None)


def test_a_part_of_the_text_is_kept(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask_one(server[1], "stall_between", tmp_path)
    assert record["text"].startswith("hello you") and record["stream_chunks"] > 0 and record["ttft_s"] < 0.3


def test_tls_spoken_to_a_server_that_speaks_none(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask(server[1].replace("http:", "https:"), "ok", tmp_path, retries=2)[0]
    assert (record["error_type"], record["attempts"]) == ("connect", 1) and record["error_msg"].startswith("TLS: ")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", *words, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with serving(tls=context) as (stub, url):
        record = ask(url, "ok", tmp_path, retries=2)[0]
    assert (record["error_type"], record["attempts"], stub.heads) == ("connect", 1, [])
    assert record["error_msg"].startswith("TLS: ") and "certificate" in record["error_msg"]


# --- again, where it may help ---


@pytest.mark.parametrize("way", ["busy", "burst_500", "burst_503", "reset_once"])
def test_what_passes_is_tried_again(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    record = ask_one(server[1], way, tmp_path, retries=2)
    assert record["ok"] and record["attempts"] == (2 if way == "reset_once" else 3)
    assert record["latency_s"] > 0.25  # waiting between attempts is part of it
    assert record["ended_s"] - record["sent_s"] < record["latency_s"]


def test_no_more_often_than_asked(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask_one(server[1], "busy", tmp_path, retries=1)
    assert (record["ok"], record["error_type"], record["attempts"]) == (False, "rate_limit", 2)


@pytest.mark.parametrize("way", ["busy_1s", "busy_date"])
def test_retry_after_is_honoured(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    record = ask_one(server[1], way, tmp_path, retries=1)
    assert record["ok"] and record["latency_s"] >= 1.0


# --- how many, and when ---


def test_concurrency_is_bounded(tmp_path: Path) -> None:
    with serving() as (stub, url):
        records = ask(url, "slow", tmp_path, tuple(f"p{n}" for n in range(30)), concurrency=5)
        assert stub.most_open == 5
    assert sorted(record["line"] for record in records) == list(range(1, 31))


def test_an_open_loop_does_not_wait_for_answers(tmp_path: Path) -> None:
    with serving() as (stub, url):
        records = ask(
            url, "silent", tmp_path, tuple("abcdefghij"), rate=50, arrivals="constant", concurrency=None, stream=False,
            limits=Limits(2, 9, 9, 0.5),
        )  # fmt: skip
        assert stub.most_open == 10
    times = sorted(record["scheduled_s"] for record in records)
    assert times[-1] - times[0] == pytest.approx(9 / 50, abs=1e-5)


def test_latency_counts_from_the_schedule(tmp_path: Path) -> None:
    """One connection, 50 ms an answer, a prompt every 10 ms: each waits for all before it, and says so."""
    with serving() as (_, url):
        records = ask(
            url, "slow", tmp_path, tuple("abcdef"), rate=100, arrivals="constant", concurrency=1, stream=False
        )
    records.sort(key=lambda record: record["line"])
    assert records[5]["latency_s"] > 6 * 0.05 - 5 * 0.01
    assert records[5]["sent_s"] - records[5]["scheduled_s"] > 0.15
    assert all(r["latency_s"] == pytest.approx(r["ended_s"] - r["scheduled_s"], abs=1e-5) for r in records)


def test_poisson_arrivals() -> None:
    asked = settings("http://h:1", "ok", rate=100.0)
    times = arrivals(asked, 5.0)
    stamps = [next(times) for _ in range(20_001)]
    gaps = [b - a for a, b in itertools.pairwise(stamps)]
    mean = sum(gaps) / len(gaps)
    assert stamps[0] == 5.0 and mean == pytest.approx(0.01, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(0.01**2, rel=0.06)  # as an exponential's
    again = arrivals(asked, 5.0)
    assert stamps[:100] == [next(again) for _ in range(100)]


# --- input ---


def test_prompts_with_their_own_parameters(server: tuple[Stub, str], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"id":"a","prompt":"hi there","temperature":0,"max_tokens":3}\n\n'
        '{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"well"}]}\n'
    )
    records: list[dict[str, Any]] = []
    asyncio.run(run(settings(server[1], "crlf", max_tokens=9), None, read(path, "chat"), records.append))
    assert sorted(record["id"] for record in records) == ["3", "a"]
    first, second = sorted(server[0].bodies["crlf"][-2:], key=lambda body: body["max_tokens"])
    assert first["temperature"] == 0 and first["max_tokens"] == 3 and first["messages"][0]["content"] == "hi there"
    assert second["max_tokens"] == 9 and len(second["messages"]) == 2 and second["stream"] is True


@pytest.mark.parametrize(
    ("line", "mode", "words"),
    [
        ("[1]", "chat", "not an object"),
        ("{", "chat", "line 2"),
        ('{"id":"a"}', "chat", "needs `prompt` or `messages`"),
        ('{"prompt":"a","messages":[]}', "chat", "one of them"),
        ('{"messages":[]}', "completion", "for --mode chat"),
        ('{"prompt":[1,2]}', "chat", "must be text"),
        ('{"prompt":"a","stream":true}', "chat", "--stream"),
        ('{"prompt":"a","n":2}', "chat", "`n` must be 1"),
    ],
)
def test_a_line_that_cannot_be_sent_is_refused_first(tmp_path: Path, line: str, mode: str, words: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"prompt":"fine"}}\n{line}\n')
    with pytest.raises(EnginescopeError, match="line 2") as raised:
        count(path, mode)
    assert words in str(raised.value) and raised.value.code == 2


def test_text_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffGrüße\r\n\r\n  zwei \n{no json}".encode())
    assert [(p.line, p.id, p.request["prompt"]) for p in read(path, "completion")] == [
        (1, "1", "Grüße"),
        (3, "3", "  zwei "),
        (4, "4", "{no json}"),
    ]
    path.write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(EnginescopeError, match="line 2"):
        count(path, "chat")


def test_a_million_lines_in_constant_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "in.txt"
    path.write_text("prompt\n" * 1_000_000)
    tracemalloc.start()
    assert sum(1 for _ in zip(range(20_000), read(path, "chat"), strict=False)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert count(path, "chat") == 1_000_000


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


# --- records on disk ---


def batch(*words: object, key: str | None = None, slow_disk: bool = False) -> list[str]:
    start = ["-m", "probes.batch"] if not slow_disk else [str(ROOT / "tests/slow_records.py")]
    return [sys.executable, *start, "--model", "m", *map(str, words), *(["--api-key", key] if key else [])]


def finished(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(batch(*words, **options), cwd=ROOT, capture_output=True, text=True, timeout=120)


def written(path: Path) -> list[dict[str, Any]]:
    found = [parsed(line) for line in lines(path)]
    assert None not in found
    return [record for record in found if record]


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
    assert "100 of 100 prompts answered" in done.stdout and f"python -m probes.report --input {out}" in done.stdout
    assert sorted(record["line"] for record in written(out)) == list(range(1, 101))
    again = finished(*words)
    assert again.returncode == 2 and "--resume" in again.stderr and len(written(out)) == 100
    more = finished(*words, "--resume")
    assert more.returncode == 0 and "0 of 0 prompts answered (100 answered before)" in more.stdout


def test_failed_prompts_make_code_3_and_are_sent_again(server: tuple[Stub, str], tmp_path: Path, hundred: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--retries", 0, "--base-url")
    done = finished(*words, f"{server[1]}/always_500")
    assert done.returncode == 3 and "100 failed (server 100)" in done.stdout
    with out.open("a") as file:
        file.write('foreign\n{"schema":1,"id":"7","li')
    done = finished(*words, f"{server[1]}/ok", "--resume")
    assert done.returncode == 0
    first, *rest = lines(out)
    assert first == b"foreign\n"  # a line of someone else's stays
    found = [parsed(line) for line in rest]
    assert sorted(record["line"] for record in found if record and record["ok"]) == list(range(1, 101))
    assert finished(*words, f"{server[1]}/ok", "--resume").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "prompts.txt"]


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


@pytest.mark.slow
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
        records = [record for record in map(parsed, lines(out)) if record and record["ok"]] if out.exists() else []
        assert len(records) >= sizes[-1], "a record that was there is gone"
        sizes.append(len(records))
        if code is not None:
            break
    assert code == 0
    assert Counter(record["line"] for record in written(out)) == Counter(range(1, 101))
    assert all(record["text"].startswith(f"prompt {record['line']}: ") for record in written(out))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(server: tuple[Stub, str], tmp_path: Path, hundred: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--concurrency", 3, "--base-url")
    with subprocess.Popen(
        batch(*words, f"{server[1]}/slow"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not out.exists() or out.stat().st_size < 2000:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and "--resume" in said and "Traceback" not in said
    cancelled = [record for record in written(out) if not record["ok"]]
    assert 1 <= len(cancelled) <= 3 and {record["error_type"] for record in cancelled} == {"cancelled"}
    assert finished(*words, f"{server[1]}/ok", "--resume").returncode == 0
    assert Counter(record["line"] for record in written(out)) == Counter(range(1, 101))


def test_the_server_is_killed_half_way(tmp_path: Path, hundred: Path) -> None:
    """What was in flight fails with its reason, what came later finds nobody; afterwards the batch can be completed."""
    out = tmp_path / "out.jsonl"
    words = ("--input", hundred, "--output", out, "--stream", "--retries", 1, "--base-url")
    command = [sys.executable, str(ROOT / "tests/stub_server.py"), "--think-s", "0.1", "--interval-s", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stub:
        assert stub.stdout
        port = int(stub.stdout.readline())
        with subprocess.Popen(batch(*words, f"127.0.0.1:{port}"), cwd=ROOT, stdout=-3) as process:
            while not out.exists() or out.stat().st_size < 10_000:
                time.sleep(0.02)
            stub.kill()
            assert process.wait(60) == 3
    records = written(out)
    assert Counter(record["line"] for record in records) == Counter(range(1, 101))
    assert {record["error_type"] for record in records if not record["ok"]} == {"connect"}
    assert 20 <= sum(record["ok"] for record in records) < 100
    with serving() as (_, url):
        assert finished(*words, f"{url}/ok", "--resume").returncode == 0
    assert all(record["ok"] for record in written(out))


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
        assert Counter(record["line"] for record in written(out)) == Counter(range(1, 101))
    finally:
        subprocess.run(["umount", str(small)], check=True)


# --- the key ---


def test_the_key_goes_to_the_server_and_nowhere_else(server: tuple[Stub, str], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    for number, way in enumerate(("tells_key", "says_key")):
        out = tmp_path / f"out{number}.jsonl"
        words = ("--base-url", f"{server[1]}/{way}", "--input", tmp_path / "one.txt", "--output", out)
        done = finished(*words, key=KEY)
        assert f"Bearer {KEY}" in server[0].heads[-1].decode()
        (record,) = written(out)
        assert KEY not in done.stdout + done.stderr + out.read_text()
        assert BLANK in (record["error_msg"] or record["text"])


def test_the_key_is_not_on_the_command_line_for_long(server: tuple[Stub, str], tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    words = ("--base-url", f"{server[1]}/silent", "--input", tmp_path / "one.txt", "--output", tmp_path / "out.jsonl")
    seen = len(server[0].heads)
    with subprocess.Popen(batch(*words, key=KEY), cwd=ROOT, stdout=-3, stderr=-3) as process:
        while len(server[0].heads) == seen:
            time.sleep(0.02)
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
    assert b"probes.batch" in line and b"api-key" not in line and KEY.encode() not in line


def test_a_key_with_a_line_break_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("hello\n")
    environment = {**os.environ, "OPENAI_API_KEY": f"{KEY}\nHost: elsewhere"}
    words = batch("--base-url", "h:1", "--input", tmp_path / "one.txt", "--output", tmp_path / "out.jsonl")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2 and KEY not in done.stderr and not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("words", [("--rate", "0"), ("--timeout", "-1"), ("--retries", "-1"), ("--concurrency", "0")])
def test_settings_that_cannot_be(tmp_path: Path, words: tuple[str, str]) -> None:
    done = finished("--base-url", "h:1", "--input", tmp_path / "x", "--output", tmp_path / "out.jsonl", *words)
    assert done.returncode == 2 and words[0] in done.stderr
