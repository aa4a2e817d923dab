"""An OpenAI-compatible server without a model: quick and exact, or wrong in every way that servers and networks can be.

The first part of a path names what it does: `http://127.0.0.1:PORT/stall_between/v1`. Below HTTP by design: it has to
send what no web framework would. `python -m tests.probes.client.stub_server` is one in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tests.probes.client.stub_exchange import Exchange
from tests.probes.client.stub_ways import WAYS

MODELS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\nContent-Type: application/json\r\n\r\n"
    b'{"data": [{"id": "smollm2"}, {"id": "qwen"}]}'
)


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
        if head.startswith(b"GET") and path.endswith("/models"):
            self.transport.write(MODELS)
        elif name in WAYS:
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
    future = loop.create_server(stub.protocol, "127.0.0.1", 0, ssl=tls, backlog=4096)
    server = asyncio.run_coroutine_threadsafe(future, loop).result()

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
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--think-s", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--interval-s", type=float, default=0.0)
    args = parser.parse_args()

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
