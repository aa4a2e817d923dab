"""The client below the answers: what the bytes of a response come to, and where a request goes."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from probes.client.attempt import Attempt
from probes.client.client import Client
from probes.client.connection import Connection
from probes.client.destination import destination
from probes.client.watch import Limits
from tests.probes.client.stub_server import Stub, serving

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Receive = Callable[[int, int | None], None]
LIMITS = Limits(connect_s=2, first_token_s=5, gap_s=5, total_s=5)
HEAD = b"HTTP/1.1 200 OK\r\n"


class Wire(asyncio.Transport):
    """What a connection writes to; it goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.is_closed = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True


class Heard:
    """What a connection hands on."""

    def __init__(self) -> None:
        self.status, self.body, self.ends = 0, b"", []

    def begin(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status

    def take(self, piece: bytes, now_ns: int) -> None:
        self.body += piece

    def end(self, error: Exception | None) -> None:
        self.ends.append(error)


def asked() -> tuple[Connection, Wire, Heard]:
    connection, wire, heard = Connection(), Wire(), Heard()
    connection.connection_made(wire)
    connection.send(b"POST / HTTP/1.1\r\n\r\n", heard)
    return connection, wire, heard


RESPONSES = {
    "length": HEAD + b"Content-Length: 2\r\n\r\nhi",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
    "after an interim one": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nhi",
    "gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (22, gzip.compress(b"hi")),
    "deflate": HEAD + b"Content-Encoding: deflate\r\nContent-Length: 10\r\n\r\n" + zlib.compress(b"hi"),
    "raw deflate": HEAD + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\n" + zlib.compress(b"hi")[2:-4],
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=list(RESPONSES))
def test_a_response_in_any_cut(response: bytes) -> None:
    for size in (1, 7, len(response)):
        connection, _, heard = asked()
        for start in range(0, len(response), size):
            connection.data_received(response[start : start + size])
        assert (heard.status, heard.body, heard.ends, connection.is_free) == (200, b"hi", [None], True)


def test_a_body_that_ends_with_the_connection() -> None:
    connection, _, heard = asked()
    connection.data_received(HEAD + b"\r\nhi")
    assert heard.ends == []
    connection.connection_lost(None)
    assert (heard.body, heard.ends, connection.is_free) == (b"hi", [None], False)


def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    connection, _, heard = asked()
    connection.data_received(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi")
    assert (heard.ends, connection.is_free) == ([None], False)


def test_a_head_without_an_end() -> None:
    connection, wire, heard = asked()
    for number in range(2000):
        connection.data_received(b"%bX-%d: %b\r\n" % (b"" if number else HEAD, number, b"x" * 1000))
    assert wire.is_closed and "without an end" in str(heard.ends[0])


def test_an_answer_that_nobody_asked_for_closes_the_connection() -> None:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    connection.data_received(HEAD + b"Content-Length: 2\r\n\r\nhi")
    assert wire.is_closed


@pytest.mark.parametrize(
    ("url", "environment", "to", "target", "authority"),
    [
        ("http://h:8000/v1/x", {}, None, "/v1/x", "h:8000"),
        ("http://h:80/v1", {}, None, "/v1", "h"),
        ("https://[::1]:443/v1", {}, None, "/v1", "[::1]"),
        ("http://h:8000/v1", {"http_proxy": "http://p:3128"}, ("p", 3128), "http://h:8000/v1", "h:8000"),
        ("https://h:443/v1", {"https_proxy": "p:3128"}, ("p", 3128), "/v1", "h"),
        ("http://h:8000/v1", {"http_proxy": "http://p:3128", "no_proxy": "h"}, None, "/v1", "h:8000"),
        ("http://h:8000/v1", {"http_proxy": "socks5://p:1080"}, None, "/v1", "h:8000"),
    ],
)
def test_where_a_request_goes(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict, to: tuple | None, target: str, authority: str
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    where = destination(url, trust_env=True)
    assert (where.proxy and (where.proxy.host, where.proxy.port)) == to
    assert (where.target, where.authority) == (target, authority)
    assert destination(url, trust_env=False).proxy is None


def attempt_at(handler: Handler, url: str, proxy: str = "", receive: Receive | None = None) -> Attempt:
    """One attempt at `url`, by a proxy if one is named; `handler` listens at the `{port}` of whichever has one."""

    async def ask() -> Attempt:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        attempt = Attempt(receive)
        with pytest.MonkeyPatch.context() as environment:
            environment.delenv("no_proxy", raising=False)
            environment.setenv(f"{url.partition(':')[0]}_proxy", proxy.format(port=port))
            with closing(Client(url.format(port=port), {}, trust_env=bool(proxy))) as client:
                await attempt.run(client, b"{}", True, LIMITS)
        server.close()
        return attempt

    return asyncio.run(ask())


def test_a_proxy_forwards_and_is_told_who_asks() -> None:
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + b'Content-Type: text/event-stream\r\n\r\ndata: {"choices":[{"text":"Hi"}]}\n\n')
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    attempt = attempt_at(proxy, "http://nowhere.invalid:80/v1/completions", "http://me:p%40ss@127.0.0.1:{port}")
    assert attempt.complete and attempt.answer.texts == ["Hi"]
    assert heads[0].startswith(b"POST http://nowhere.invalid/v1/completions HTTP/1.1\r\nHost: nowhere.invalid\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in heads[0]


def test_a_proxy_that_does_not_connect() -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT nowhere.invalid:443 HTTP/1.1\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        writer.close()

    refused = attempt_at(proxy, "https://nowhere.invalid:443/v1/completions", "http://127.0.0.1:{port}").refused
    assert refused is not None and (refused.kind, str(refused)) == ("client", "407: the proxy does not connect")


def test_each_output_is_told_with_its_time_and_its_tokens() -> None:
    """Four chunks with their token ids, one of which has no text yet; then one without ids."""
    events = b"".join(
        b'data: {"choices":[{"text":"%b","token_ids":%b}]}\n\n' % each
        for each in ((b"a", b"[1]"), (b"", b"[2]"), (b"b", b"[3,4]"), (b"c", b"null"))
    )
    outputs: list[tuple[int, int | None]] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Type: text/event-stream\r\n\r\n" + events + b"data: [DONE]\n\n")
        writer.close()

    url = "http://127.0.0.1:{port}/v1/completions"
    attempt = attempt_at(server, url, receive=lambda now_ns, tokens: outputs.append((now_ns, tokens)))
    assert [tokens for _, tokens in outputs] == [1, 1, 2, None]
    assert [now_ns for now_ns, _ in outputs] == attempt.stamps_ns
    assert attempt.sent_ns < attempt.stamps_ns[0] <= attempt.ended_ns


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def ask(url: str) -> None:
        with closing(Client(f"{url}/ok/v1/completions", {}, trust_env=False)) as client:
            for _ in range(3):
                attempt = Attempt()
                await attempt.run(client, b'{"prompt": "x", "stream": true}', True, LIMITS)
                assert attempt.complete

    with serving() as (stub, url):
        asyncio.run(ask(url))
        assert isinstance(stub, Stub) and (len(stub.heads), stub.most_open) == (3, 1)
