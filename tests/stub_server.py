"""An OpenAI-compatible server without a model: quick and exact, or wrong in every way that servers and networks can be.

The first part of a path names what it does: `http://127.0.0.1:PORT/stall_between/v1`. Below HTTP by design: it has to
send what no web framework would. Run as a script it is the server of the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

FOREVER_S = 3600
REPLY = ["Grüße", " an", " alle", " 🙂", "."]
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}


class Exchange:
    """One request and the connection that its answer goes to."""

    def __init__(self, transport: asyncio.Transport, path: str, head: bytes, body: bytes, number: int) -> None:
        self.transport, self.path, self.head_bytes, self.number = transport, path, head, number
        self.request = json.loads(body) if body else {}
        self.chat = path.endswith("chat/completions")

    @property
    def prompt(self) -> str:
        asked = self.request["messages"][-1]["content"] if self.chat else self.request["prompt"]
        return asked if isinstance(asked, str) else " ".join(map(str, asked))

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():  # a client that was killed reads no more
            self.transport.write(data)

    def head(self, status: int = 200, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        self.write("\r\n".join((*lines, "", "")).encode())

    def whole(self, status: int, headers: dict[str, str], body: bytes | str) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        self.head(status, headers, len(data))
        self.write(data)

    def piece(self, data: bytes) -> None:
        """A chunk of the transfer encoding."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Not a farewell but a RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # --- what a good server says ---

    def delta(self, text: str | None, reason: str | None = None) -> dict:
        part = {"delta": {} if text is None else {"content": text}} if self.chat else {"text": text or ""}
        return {"id": "x", "model": "m", "choices": [{"index": 0, **part, "finish_reason": reason}]}

    def reply(self) -> dict:
        text = f"{self.prompt}: {''.join(REPLY)}"
        part = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {"id": "x", "choices": [{"index": 0, **part, "finish_reason": "stop"}], "usage": self.usage()}

    def usage(self) -> dict:
        return {"prompt_tokens": len(self.prompt.split()), "completion_tokens": len(REPLY) + 1}

    def messages(self) -> Iterator[dict]:
        """The stream's messages: a role, the text, why it ends, and usage alone with empty choices."""
        if self.chat:
            yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
        for text in (f"{self.prompt}: ", *REPLY):
            yield self.delta(text)
        yield self.delta(None, "stop")
        yield {"choices": [], "usage": self.usage()}

    def stream_bytes(self, end: str = "\n") -> bytes:
        texts = [json.dumps(message, ensure_ascii=False) for message in self.messages()]
        return "".join(f"data: {text}{end}{end}" for text in [*texts, "[DONE]"]).encode()


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


class Stub:
    """What the connections of one server share: counts of requests by path and prompt, and running handlers."""

    def __init__(self, think_s: float = 0.0, tokens: int = 0, interval_s: float = 0.0) -> None:
        self.numbers: Counter[tuple[str, bytes]] = Counter()
        self.bodies: dict[str, list[dict]] = defaultdict(list)
        self.heads: list[bytes] = []
        self.running: set[asyncio.Task] = set()
        self.open = self.most_open = 0
        self.paced = Paced(think_s, tokens, interval_s)

    def protocol(self) -> Connection:
        return Connection(self)


class Connection(asyncio.Protocol):
    """Reads requests one after the other, and lets the way that the path names answer each."""

    def __init__(self, stub: Stub) -> None:
        self.stub, self.buffer = stub, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.stub.open += 1
        self.stub.most_open = max(self.stub.open, self.stub.most_open)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.stub.open -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer[:1] == b"\x16":  # someone speaks TLS
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            return
        at = self.buffer.find(b"\r\n\r\n")
        if at < 0:
            return
        head = self.buffer[:at]
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self.buffer) < at + 4 + length:
            return
        body, self.buffer = self.buffer[at + 4 : at + 4 + length], self.buffer[at + 4 + length :]
        path = head.split(b" ", 2)[1].decode()
        name = path.split("/")[1]
        if name in WAYS:
            self._answer(name, path, head, body)
        elif head.startswith(b"GET"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
        else:
            self.stub.paced.answer(self.transport, path, body)

    def _answer(self, name: str, path: str, head: bytes, body: bytes) -> None:
        self.stub.numbers[name, body] += 1
        self.stub.heads.append(head)
        self.stub.bodies[name].append(json.loads(body))
        exchange = Exchange(self.transport, path, head, body, self.stub.numbers[name, body])
        task = asyncio.get_running_loop().create_task(WAYS[name](exchange))
        self.stub.running.add(task)
        task.add_done_callback(self.stub.running.discard)


class Paced:
    """Answers of `tokens` tokens, the first after `think_s`, then one every `interval_s`; bytes made once."""

    def __init__(self, think_s: float, tokens: int, interval_s: float) -> None:
        self.think_s, self.tokens, self.interval_s = think_s, tokens, interval_s
        stamp = {"id": "cmpl-0123456789abcdef", "created": 1_700_000_000, "model": "m"}
        usage = {"prompt_tokens": 8, "total_tokens": 8 + tokens, "completion_tokens": tokens}
        self.events, self.bodies = {}, {}
        for chat in (True, False):
            part = {"delta": {"content": " token"}} if chat else {"text": " token", "token_ids": None}
            choice = {"index": 0, **part, "logprobs": None, "finish_reason": None, "stop_reason": None}
            one = {**stamp, "object": "chat.completion.chunk", "choices": [choice]}
            last = {**one, "choices": [{**choice, "finish_reason": "length"}]}
            events = [one] * (tokens - 1) + [last]
            framed = [_framed(event) for event in events]
            tail = _framed({**stamp, "choices": [], "usage": usage}) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
            self.events[chat] = [*framed[:-1], framed[-1] + tail] if framed else [tail]
            text = {"message": {"content": " token" * tokens}} if chat else {"text": " token" * tokens}
            whole = {**stamp, "choices": [{"index": 0, **text, "finish_reason": "length"}], "usage": usage}
            data = json.dumps(whole).encode()
            length = b"Content-Length: %d\r\n\r\n" % len(data)
            self.bodies[chat] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + length + data
        self.head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def answer(self, transport: asyncio.Transport, path: str, body: bytes) -> None:
        loop, chat = asyncio.get_running_loop(), "chat/" in path
        if b'"stream": true' not in body and b'"stream":true' not in body:
            loop.call_later(self.think_s, transport.write, self.bodies[chat])
            return
        events, begun = self.events[chat], loop.time()

        def send(number: int) -> None:
            if not transport.is_closing():
                transport.write(events[number] if number else self.head + events[0])
                if number + 1 < len(events):
                    due_s = begun + self.think_s + (number + 1) * self.interval_s
                    loop.call_later(max(0.0, due_s - loop.time()), send, number + 1)

        loop.call_later(self.think_s, send, 0)


def _framed(message: dict) -> bytes:
    data = f"data: {json.dumps(message, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextmanager
def serving(tls: object = None) -> Iterator[tuple[Stub, str]]:
    """The server in a thread: what it saw, and its address."""
    loop, stub = asyncio.new_event_loop(), Stub()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = loop.create_server(stub.protocol, "127.0.0.1", 0, ssl=tls, backlog=4096)
    server = asyncio.run_coroutine_threadsafe(made, loop).result()

    async def end() -> None:
        server.close()
        for task in tuple(stub.running):
            task.cancel()
        await asyncio.sleep(0.01)

    try:
        yield stub, f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main() -> None:
    """Serve until killed; the port is the first line of output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", type=int, help="the core to stay on")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--think-s", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--interval-s", type=float, default=0.0)
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})

    async def serve() -> None:
        stub = Stub(args.think_s, args.tokens, args.interval_s)
        server = await asyncio.get_running_loop().create_server(stub.protocol, "127.0.0.1", args.port, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
