"""One HTTP/1.1 connection: a request goes out, its response comes in piece by piece, and then the next may follow.

Parsing is llhttp's, through httptools. Nothing waits here: what arrives is handed on in the callback of the event loop,
so that a piece of a stream costs no switch of tasks.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import Any, Protocol, cast

from httptools import HttpParserError, HttpResponseParser

LARGEST_BYTES = 64 * 2**20  # of one body, unpacked; something endless must not fill the memory
LARGEST_HEAD_BYTES = 2**20
FINAL = 200  # statuses below it announce another response


class Exchange(Protocol):
    """What takes a response: `begin` once, then `take` a piece, then `end` with None or with what broke it."""

    def begin(self, status: int, headers: dict[bytes, bytes]) -> None: ...

    def take(self, piece: bytes, now_ns: int) -> None: ...

    def end(self, error: Exception | None) -> None: ...


class Connection(asyncio.Protocol):
    """A connection to a server; header names of a response are in lower case."""

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._now_ns = 0
        self._in_body = self._ends_with_connection = self._is_kept = False
        self._unpacker: Any = None  # zlib does not name its type

    @property
    def is_free(self) -> bool:
        """Whether another request may be sent."""
        return self._is_kept and self._transport is not None and not self._transport.is_closing()

    @property
    def is_busy(self) -> bool:
        """Whether the end of a response is still to come."""
        return self._exchange is not None

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Send a whole request; its response goes to `exchange`."""
        self._exchange, self._is_kept = exchange, False
        if self._transport is None or self._transport.is_closing():
            self._end(ConnectionResetError("the server closed it"))
        else:
            self._transport.write(request)

    def abort(self) -> None:
        """Close at once; nobody is told any more."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The time of all that `data` holds is now."""
        self._now_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._break(error)
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._break(ValueError("a head without an end"))

    def connection_lost(self, error: Exception | None) -> None:
        """Some bodies end so; to all else it is a fault."""
        if error is None and not self._ends_with_connection:
            error = ConnectionResetError("the server closed it")
        self._end(error)

    # --- called by the parser ---

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; one behind a body is not looked at."""
        if not self._in_body:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The end of a head."""
        status, headers, self._headers = self._parser.get_status_code(), self._headers, {}
        if status < FINAL:
            return
        if self._exchange is None:  # nothing was asked
            self.abort()
            return
        self._in_body, self._head_bytes = True, 0
        self._ends_with_connection = b"content-length" not in headers and b"transfer-encoding" not in headers
        self._unpacker = _unpacker(headers.get(b"content-encoding"))
        self._exchange.begin(status, headers)

    def on_body(self, piece: bytes) -> None:
        """A piece of a body."""
        if self._exchange is None:
            return
        if self._unpacker is not None:
            try:
                piece = self._unpacker.decompress(piece, LARGEST_BYTES + 1)
            except zlib.error as error:
                self._break(error)
                return
        self._exchange.take(piece, self._now_ns)

    def on_message_complete(self) -> None:
        """The end of a response."""
        if self._parser.get_status_code() >= FINAL:
            self._in_body = False
            self._is_kept = self._parser.should_keep_alive()
            self._end(None)

    # --- ends ---

    def _break(self, error: Exception) -> None:
        self._end(error)
        self.abort()

    def _end(self, error: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end(error)


class _Deflate:
    """The encoding "deflate": with zlib's frame as the standard says, or raw as some servers send it."""

    def __init__(self) -> None:
        self._unpacker: Any = None  # as above

    def decompress(self, data: bytes, most_bytes: int) -> bytes:
        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS if data[:1] and data[0] & 0xF == 8 else -zlib.MAX_WBITS)
        return cast(bytes, self._unpacker.decompress(data, most_bytes))


def _unpacker(encoding: bytes | None) -> Any:  # as above
    """What unpacks a Content-Encoding; None for none, and for those that were not asked for."""
    match encoding and encoding.strip().lower():
        case b"gzip" | b"x-gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        case b"deflate":
            return _Deflate()
    return None
