"""A server as a variant: what it is asked, what of its stream is noted, and a failure in its own words."""

from __future__ import annotations

import asyncio

import pytest

from offline.variants.serverserving import ServerServing
from offline.variants.serving import Ending, ScheduledRequest
from probes.errors import EnginescopeError
from tests.probes.client.stub_server import Stub

REQUEST = ScheduledRequest(3, 0.0, (11, 12, 13), 2, {"temperature": 0.5})


def submit(url: str) -> tuple[Ending, list[tuple[int, int]]]:
    """One request to a server, and the outputs that were noted."""
    outputs: list[tuple[int, int]] = []
    serving = ServerServing(url)

    async def ask() -> Ending:
        try:
            return await serving.submit(REQUEST, lambda now_ns, tokens: outputs.append((now_ns, tokens)))
        finally:
            serving.close()

    return asyncio.run(ask()), outputs


def test_token_ids_are_sent_with_a_fixed_length(server: tuple[Stub, str]) -> None:
    stub, url = server
    submit(f"{url}/ok/v1")
    assert stub.bodies["ok"][-1] == {
        "model": "smollm2",
        "prompt": [11, 12, 13],
        "max_tokens": 2,
        "min_tokens": 2,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        "temperature": 0.5,
    }


def test_outputs_are_noted_as_they_come(server: tuple[Stub, str]) -> None:
    ending, outputs = submit(f"{server[1]}/ok/v1")
    times_ns = [now_ns for now_ns, _ in outputs]
    assert ending.sent_ns and times_ns and [ending.sent_ns, *times_ns] == sorted([ending.sent_ns, *times_ns])
    assert all(tokens >= 1 for _, tokens in outputs) and ending.error is None


def test_a_refusal_is_in_the_servers_words(server: tuple[Stub, str]) -> None:
    ending, outputs = submit(f"{server[1]}/bad_request/v1")
    assert (ending.finish, outputs) == ("failed", []) and "max_tokens is too large" in (ending.error or "")


def test_what_is_no_server_is_one_line() -> None:
    with pytest.raises(EnginescopeError, match=r"127\.0\.0\.1:9/v1/models lists no model"):
        ServerServing("http://127.0.0.1:9/v1")


def test_a_server_on_this_machine_is_asked_by_no_proxy(
    server: tuple[Stub, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    ending, outputs = submit(f"{server[1]}/ok/v1")
    assert outputs and ending.error is None
