"""Every way in which servers and networks can be wrong, and some in which they are right; a path names its way."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from tests.probes.client.stub_exchange import HTML, JSON, SSE, Exchange
from tests.probes.client.stub_streams import STREAMS

FOREVER_S = 3600

Way = Callable[[Exchange], Awaitable[None]]
WAYS: dict[str, Way] = {}


def way(does: Way) -> Way:
    WAYS[does.__name__] = does
    return does


@way
async def ok(it: Exchange) -> None:
    if not it.request.get("stream"):
        it.whole(200, JSON, json.dumps(it.reply()))
        return
    it.head(200, SSE)
    for message in it.messages():
        it.piece(f"data: {json.dumps(message)}\n\n".encode())
        await asyncio.sleep(0.002)
    it.piece(b"data: [DONE]\n\n")
    it.end()


@way
async def odd(it: Exchange) -> None:
    """One of the streams that servers really send; the prompt is its number."""
    it.head(200, SSE)
    it.piece(STREAMS[int(it.prompt)].text.encode())
    it.end()


@way
async def slow(it: Exchange) -> None:
    await asyncio.sleep(0.05)
    await ok(it)


@way
async def reset(it: Exchange) -> None:
    it.head(200, SSE if it.request.get("stream") else JSON)
    it.piece(it.stream_bytes()[:400])
    await asyncio.sleep(0.02)
    it.reset()


@way
async def reset_once(it: Exchange) -> None:
    await (reset if it.number == 1 else ok)(it)


@way
async def reset_at_once(it: Exchange) -> None:
    it.reset()


@way
async def silent(it: Exchange) -> None:
    await asyncio.sleep(FOREVER_S)


@way
async def stall_first(it: Exchange) -> None:
    it.head(200, SSE)
    while not it.transport.is_closing():  # alive, but no token: a comment is none
        it.piece(b": ping\n\n")
        await asyncio.sleep(0.05)


@way
async def stall_between(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes()[:400])
    await asyncio.sleep(FOREVER_S)


@way
async def trickle(it: Exchange) -> None:
    it.head(200, SSE)
    while not it.transport.is_closing():
        it.piece(f"data: {json.dumps(it.delta('a'))}\n\n".encode())
        await asyncio.sleep(0.02)


@way
async def open_end(it: Exchange) -> None:
    """`[DONE]`, but the response never ends."""
    it.head(200, SSE)
    it.piece(it.stream_bytes())
    await asyncio.sleep(FOREVER_S)


def refusing(status: int, headers: dict[str, str], times: int = 2, body: str = '{"error":{"message":"busy"}}') -> Way:
    """`times` times no, then yes."""

    async def refuse(it: Exchange) -> None:
        if it.number > times:
            await ok(it)
        else:
            it.whole(status, {**JSON, **headers}, body)

    return refuse


WAYS["busy"] = refusing(429, {})
WAYS["busy_1s"] = refusing(429, {"Retry-After": "1"}, times=1)
WAYS["busy_an_hour"] = refusing(429, {"Retry-After": "3600"}, times=1)
WAYS["burst_500"] = refusing(500, {})
WAYS["burst_503"] = refusing(503, {"Retry-After": "0"})
WAYS["always_500"] = refusing(500, {}, times=10**9)
WAYS["not_implemented"] = refusing(501, {}, times=1)
WAYS["bad_request"] = refusing(400, {}, 10**9, '{"object":"error","message":"max_tokens is too large","code":400}')
WAYS["no_model"] = refusing(404, {}, 10**9, '{"error":{"message":"The model `m` does not exist.","code":404}}')
WAYS["unprocessable"] = refusing(422, {}, 10**9, '{"detail":[{"loc":["body"],"msg":"field required"}]}')
WAYS["bad_gateway"] = refusing(502, HTML, 10**9, "<html><title>502 Bad Gateway</title></html>")
WAYS["redirect"] = refusing(307, {"Location": "http://127.0.0.1:1/elsewhere"}, 10**9)


@way
async def busy_date(it: Exchange) -> None:
    if it.number > 1:
        await ok(it)
    else:
        it.whole(429, {**JSON, "Retry-After": formatdate(time.time() + 2, usegmt=True)}, "{}")


@way
async def tells_key(it: Exchange) -> None:
    key = next(line for line in it.head_bytes.decode().split("\r\n") if line.lower().startswith("authorization"))
    it.whole(401, JSON, json.dumps({"error": {"message": f"Incorrect API key provided: {key.split()[-1]}."}}))


@way
async def says_key(it: Exchange) -> None:
    key = next(line for line in it.head_bytes.decode().split("\r\n") if line.lower().startswith("authorization"))
    it.whole(200, JSON, json.dumps({"choices": [{"message": {"content": f"your key is {key.split()[-1]}"}}]}))


@way
async def html(it: Exchange) -> None:
    it.whole(200, HTML, "<!doctype html><title>Welcome <b>here</title>")


@way
async def html_called_json(it: Exchange) -> None:
    it.whole(200, JSON, "<html>surprise</html>")


@way
async def plain_json_for_stream(it: Exchange) -> None:
    it.whole(200, JSON, json.dumps(it.reply()))


@way
async def no_choices(it: Exchange) -> None:
    if it.request.get("stream"):
        it.head(200, SSE)
        it.piece(b'data: {"choices":[]}\n\ndata: [DONE]\n\n')
        it.end()
    else:
        it.whole(200, JSON, '{"choices":[]}')


@way
async def byte_by_byte(it: Exchange) -> None:
    it.head(200, SSE)
    for byte in it.stream_bytes():
        it.piece(bytes((byte,)))
        if byte > 127:
            await asyncio.sleep(0.001)
    it.end()


@way
async def crlf(it: Exchange) -> None:
    it.head(200, SSE)
    data = it.stream_bytes("\r\n")
    for start in range(0, len(data), 7):
        it.piece(data[start : start + 7])
    it.end()


@way
async def comments(it: Exchange) -> None:
    it.head(200, SSE)
    noise = b": comment\n\nevent: message\nid: 7\nretry: 10\n"
    for event in it.stream_bytes().split(b"\n\n")[:-1]:
        it.piece(b"%b%b\n\n: ping\n\n" % (noise, event))
    it.end()


@way
async def one_packet(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes())
    it.end()


@way
async def no_done(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes().replace(b"data: [DONE]\n\n", b""))
    it.end()


@way
async def no_last_newline(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes().rstrip(b"\n"))
    it.end()


@way
async def cut_short(it: Exchange) -> None:
    """The response ends properly, the stream does not."""
    it.head(200, SSE)
    it.piece(it.stream_bytes()[:400])
    it.end()


@way
async def broken_event(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes().replace(b'"finish_reason": null', b'"finish_reason": nil', 3))
    it.end()


@way
async def error_event(it: Exchange) -> None:
    it.head(200, SSE)
    it.piece(it.stream_bytes()[:0] + f"data: {json.dumps(it.delta('a'))}\n\n".encode())
    it.piece(b'data: {"error":{"message":"EngineCore died","code":500}}\n\ndata: [DONE]\n\n')
    it.end()


@way
async def long_line(it: Exchange) -> None:
    """A valid event of 50 MB."""
    it.head(200, SSE)
    it.piece(f"data: {json.dumps(it.delta('x' * 50_000_000, 'length'))}\n\ndata: [DONE]\n\n".encode())
    it.end()


@way
async def endless_line(it: Exchange) -> None:
    it.head(200, SSE)
    while not it.transport.is_closing():
        it.piece(b"x" * 2**20)
        await asyncio.sleep(0.001)


@way
async def zipped(it: Exchange) -> None:
    stream = it.request.get("stream")
    data = gzip.compress(it.stream_bytes() if stream else json.dumps(it.reply()).encode())
    it.whole(200, {**(SSE if stream else JSON), "Content-Encoding": "gzip"}, data)


@way
async def badly_zipped(it: Exchange) -> None:
    it.whole(200, {**(SSE if it.request.get("stream") else JSON), "Content-Encoding": "gzip"}, b"this is not gzip")


@way
async def no_http(it: Exchange) -> None:
    it.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    it.transport.close()


@way
async def too_short(it: Exchange) -> None:
    """Fewer bytes than promised."""
    it.head(200, JSON, length=1000)
    it.transport.write(b'{"choices":')
    it.transport.close()
