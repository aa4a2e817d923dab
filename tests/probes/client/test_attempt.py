"""One prompt sent to a server that does everything wrong: every answer or its fault is told as it was."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from probes.client.watch import Limits
from tests.probes.batch.batchclient import ANSWER, ask, ask_one
from tests.probes.client.stub_server import Stub, serving


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_a_stream(server: tuple[Stub, str], tmp_path: Path, mode: str) -> None:
    (record,) = ask(server[1], "ok", tmp_path, mode=mode)
    assert record.ok and record.text == ANSWER
    assert (record.stream_chunks, record.completion_tokens, record.prompt_tokens) == (6, 6, 2)
    assert (record.status_code, record.finish_reason, record.attempts) == (200, "stop", 1)
    assert len(record.itl) == 5 and 0 < record.ttft_s < record.latency_s < 2
    assert record.ttft_s + sum(record.itl) == pytest.approx(record.latency_s, abs=0.1)
    assert record.scheduled_s <= record.sent_s <= record.ended_s
    assert abs(record.sent_s - time.time()) < 60


@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_no_stream(server: tuple[Stub, str], tmp_path: Path, mode: str) -> None:
    (record,) = ask(server[1], "ok", tmp_path, mode=mode, stream=False)
    assert record.ok and record.text == ANSWER
    assert (record.ttft_s, record.itl, record.stream_chunks) == (None, [], 0)
    assert record.completion_tokens == 6


STILL_WHOLE = ["byte_by_byte", "crlf", "comments", "one_packet", "no_done", "no_last_newline", "zipped", "open_end"]


@pytest.mark.parametrize("way", STILL_WHOLE)
def test_odd_but_whole_streams(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    (record,) = ask(server[1], way, tmp_path, limits=Limits(2, 3, 3, 5))
    assert record.error_msg is None and record.text == ANSWER
    assert (record.stream_chunks, record.completion_tokens, record.finish_reason) == (6, 6, "stop")


def test_gzip_without_a_stream(server: tuple[Stub, str], tmp_path: Path) -> None:
    assert ask(server[1], "zipped", tmp_path, stream=False)[0].text == ANSWER


def test_a_line_of_50_mb(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask(server[1], "long_line", tmp_path, limits=Limits(2, 30, 30, 30))[0]
    assert record.error_msg is None and len(record.text) == 50_000_000


ONCE, THRICE = 1, 3
FAULTS = [
    ("reset", {}, "connect", "broke after", THRICE),
    ("reset", {"stream": False}, "connect", "broke", THRICE),
    ("reset_at_once", {}, "connect", "broke before an answer", THRICE),
    ("no_http", {}, "bad_response", "not readable as HTTP", ONCE),
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
    assert (record.ok, record.error_type, record.attempts) == (False, kind, attempts), record.error_msg
    assert words in record.error_msg and len(record.error_msg) <= 300
    assert record.latency_s < 15


def test_nobody_there(tmp_path: Path) -> None:
    record = ask("http://127.0.0.1:1", "ok", tmp_path, retries=1)[0]
    assert (record.error_type, record.attempts, record.status_code) == ("connect", 2, None)


def test_a_part_of_the_text_is_kept(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask_one(server[1], "stall_between", tmp_path)
    assert record.text.startswith("hello you") and record.stream_chunks > 0 and record.ttft_s < 0.3


def test_tls_spoken_to_a_server_that_speaks_none(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask(server[1].replace("http:", "https:"), "ok", tmp_path, retries=2)[0]
    assert (record.error_type, record.attempts) == ("connect", 1) and record.error_msg.startswith("TLS: ")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", *words, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with serving(tls=context) as (stub, url):
        record = ask(url, "ok", tmp_path, retries=2)[0]
    assert (record.error_type, record.attempts, stub.heads) == ("connect", 1, [])
    assert record.error_msg.startswith("TLS: ") and "certificate" in record.error_msg


@pytest.mark.parametrize("way", ["busy", "burst_500", "burst_503", "reset_once"])
def test_what_passes_is_tried_again(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    record = ask_one(server[1], way, tmp_path, retries=2)
    assert record.ok and record.attempts == (2 if way == "reset_once" else 3)
    assert record.latency_s > 0.25  # waiting between attempts is part of it
    assert record.ended_s - record.sent_s < record.latency_s


def test_no_more_often_than_asked(server: tuple[Stub, str], tmp_path: Path) -> None:
    record = ask_one(server[1], "busy", tmp_path, retries=1)
    assert (record.ok, record.error_type, record.attempts) == (False, "rate_limit", 2)


@pytest.mark.parametrize("way", ["busy_1s", "busy_date"])
def test_retry_after_is_honoured(server: tuple[Stub, str], tmp_path: Path, way: str) -> None:
    record = ask_one(server[1], way, tmp_path, retries=1)
    assert record.ok and record.latency_s >= 1.0
