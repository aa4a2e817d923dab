"""One request to the stub of a server, and the bytes of which answers to it are made, good and bad ones."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterator

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
        question = self.request["messages"][-1]["content"] if self.chat else self.request["prompt"]
        return question if isinstance(question, str) else " ".join(map(str, question))

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
