"""Streams of vLLM, SGLang, llama.cpp, LiteLLM and TGI that clients stumbled over, each after a report of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.batch.record import ToolCall
from probes.batch.toolcalls import ToolCalls
from tests.probes.batchclient import ask
from tests.probes.stub_server import Stub
from tests.probes.stub_streams import STREAMS, OddStream


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
