"""The record of a prompt: to JSON and back, an older schema refused by its number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from probes.batch.record import Record, parsed
from probes.client.toolcalls import ToolCall
from probes.errors import EnginescopeError

OUT = Path("out.jsonl")
RECORD = Record(
    id="7", line=7, line_crc32=1, mode="chat", model="m", stream=True, began_s=100.0, ok=True, scheduled_s=101.0,
    sent_s=101.0, ended_s=102.0, latency_s=1.0, ttft_s=0.5, itl=[0.25, 0.25], status_code=200, error_type=None,
    error_msg=None, attempts=1, stream_chunks=3, prompt_tokens=40, cached_tokens=32, completion_tokens=3,
    finish_reason="tool_calls", text="Grüße", reasoning="hm", tool_calls=[ToolCall("add", '{"x":1}')],
)  # fmt: skip


def test_a_record_is_read_as_it_was_written() -> None:
    assert parsed(RECORD.json(), OUT) == RECORD
    assert RECORD.json().startswith(b'{"schema":2,"id":"7","line":7,')


@pytest.mark.parametrize(
    "line",
    [
        RECORD.json().rstrip(b"\n"),
        RECORD.json().replace(b'"line":7', b'"line":"7"'),
        RECORD.json().replace(b'"line":7', b'"line":true'),
        RECORD.json().replace(b'"attempts"', b'"tries"'),
        RECORD.json().replace(b'"name"', b'"nom"'),
        b'["a list"]\n',
        b"no json\n",
    ],
)
def test_what_is_no_record(line: bytes) -> None:
    assert parsed(line, OUT) is None


def test_another_schema_is_refused_by_its_number() -> None:
    with pytest.raises(
        EnginescopeError, match=r"out\.jsonl holds records of schema 1, and this version reads schema 2"
    ):
        parsed(b'{"schema":1,"id":"7","line":7}\n', OUT)


def test_a_secret_is_blanked_out_of_whatever_the_server_sent() -> None:
    secret = "sk-a-secret"
    record = replace(RECORD, text=f"a {secret}", error_msg=secret, tool_calls=[ToolCall("f", f'{{"k":"{secret}"}}')])
    clean = record.without(secret)
    assert (clean.text, clean.error_msg) == ("a [api key]", "[api key]")
    assert clean.tool_calls == [ToolCall("f", '{"k":"[api key]"}')] and clean.reasoning == "hm"
