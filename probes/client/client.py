"""A client of one URL: its requests as bytes, and the connections that are kept for the next one."""

from __future__ import annotations

import time
from collections.abc import Mapping

from probes.client.connection import Connection
from probes.client.destination import destination

KEEPALIVE_NS = 4_000_000_000  # uvicorn closes a connection that was idle for 5 s: a request sent then would be lost


class Client:
    """Sends POST requests to `url` inside one event loop; `trust_env`: by the proxy that the environment names."""

    def __init__(self, url: str, headers: Mapping[str, str], trust_env: bool) -> None:
        self._destination = destination(url, trust_env)
        self._idle: list[tuple[Connection, int]] = []  # and since when, in ns
        lines = {
            "Host": self._destination.authority,
            "User-Agent": "enginescope",
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/json",
            **headers,
            **self._destination.proxy_headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._head = f"POST {self._destination.target} HTTP/1.1\r\n{head}Content-Length: ".encode()

    def request(self, body: bytes) -> bytes:
        """A whole request."""
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def idle(self) -> Connection | None:
        """The connection that was used last and is still good."""
        oldest_ns = time.monotonic_ns() - KEEPALIVE_NS
        while self._idle:
            connection, since_ns = self._idle.pop()
            if since_ns > oldest_ns and connection.is_free:
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A new connection."""
        return await self._destination.connect()

    def release(self, connection: Connection) -> None:
        """Keep a connection, or close one whose response has not ended as it should."""
        if connection.is_free:
            self._idle.append((connection, time.monotonic_ns()))
        else:
            connection.abort()

    def close(self) -> None:
        """Close what is idle."""
        for connection, _ in self._idle:
            connection.abort()
        self._idle = []
