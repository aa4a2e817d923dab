"""Streams of vLLM, SGLang, llama.cpp, LiteLLM and TGI that clients stumbled over, each after a report of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.client.answer import Answer, Refused
from probes.client.toolcalls import ToolCall, ToolCalls
from tests.probes.batch.batchclient import ask
from tests.probes.client.stub_server import Stub
from tests.probes.client.stub_streams import STREAMS, OddStream


@pytest.mark.parametrize("stream", STREAMS, ids=[f"{each.issue}: {each.kind}" for each in STREAMS])
def test_odd_streams(server: tuple[Stub, str], tmp_path: Path, stream: OddStream) -> None:
    expected = {"ok": True, **stream.expected}
    words = expected.pop("error_msg", "")
    (record,) = ask(server[1], "odd", tmp_path, (str(STREAMS.index(stream)),), stream=expected.get("stream", True))
    assert {name: getattr(record, name) for name in expected} == expected, record.error_msg
    assert words in (record.error_msg or "")


def test_there_are_reports_of_every_server() -> None:
    assert len({each.kind for each in STREAMS}) >= 25 and all("#" in each.issue for each in STREAMS)


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([{"function": {"name": "f", "arguments": {"x": 1}}}], [ToolCall("f", '{"x": 1}')]),
        ([{"function": {"name": "f"}}, {"function": {"name": "g"}}], [ToolCall("f", ""), ToolCall("g", "")]),
        ({"name": "f", "arguments": "{}"}, [ToolCall("f", "{}")]),  # the older `function_call`
        ([{"index": 0}, "nonsense", {"index": 0, "function": None}], []),
        ("nonsense", []),
        (None, []),
    ],
)
def test_pieces_of_tool_calls(pieces: object, calls: list[ToolCall]) -> None:
    drafts = ToolCalls()
    assert drafts.take(pieces) is bool(calls) and drafts.calls() == calls


@pytest.mark.parametrize(
    ("usage", "cached_tokens"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 16}}, 16),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens_details": {}, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 8}, 16),
        ({"cached_tokens": 16.0}, 16),
        ({"prompt_tokens_details": {"cached_tokens": None}}, None),
        ({"prompt_tokens_details": {"cached_tokens": 1.5}}, None),
        ({"prompt_tokens_details": {"cached_tokens": True}}, None),
    ],
)
def test_cached_tokens_under_each_name(usage: dict[str, object], cached_tokens: int | None) -> None:
    answer = Answer()
    answer.take(json.dumps({"choices": [], "usage": {"prompt_tokens": 24.0, **usage}}).encode())
    assert (answer.prompt_tokens, answer.cached_tokens) == (24, cached_tokens)


def test_an_error_that_is_a_bare_detail() -> None:
    with pytest.raises(Refused, match="error in the answer: the engine is shutting down"):
        Answer().take(b'{"detail": "the engine is shutting down"}')
    assert Answer().take(b'{"choices": [{"text": "hello"}], "detail": "by replica 3"}')  # an answer that says more


def test_an_error_that_is_only_true() -> None:
    with pytest.raises(Refused, match="the worker is gone"):
        Answer().take(b'{"error": true, "message": "the worker is gone"}')


def test_a_text_in_parts() -> None:
    answer, parts = Answer(), [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]
    assert answer.take(json.dumps({"choices": [{"delta": {"content": parts}}]}).encode())
    assert "".join(answer.texts) == "Hi you"
    assert not answer.take(json.dumps({"choices": [{"delta": {"content": []}}]}).encode())
