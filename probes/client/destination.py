"""The way to a server: where to connect, by a proxy or not, and what the request names as its target."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from probes.client.answer import refusal
from probes.client.connection import LARGEST_HEAD_BYTES, Connection

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """A proxy that the environment names; `credentials` is its `Proxy-Authorization`, if it wants one."""

    host: str
    port: int
    credentials: str | None


@dataclass(frozen=True)
class Destination:
    """Where requests of one URL go."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    path: str
    proxy: Proxy | None

    @property
    def authority(self) -> str:
        """The host as a `Host` header names it: an IPv6 address in brackets, no port where it is the scheme's own."""
        host = self.host if self.host.isascii() else self.host.encode("idna").decode()
        host = f"[{host}]" if ":" in host else host
        return host if self.port == PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What a request line names: the path, to a proxy that forwards plain HTTP the whole address."""
        return f"http://{self.authority}{self.path}" if self.proxy and not self.tls else self.path

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What each request says to a proxy that forwards plain HTTP."""
        if self.proxy is None or self.proxy.credentials is None or self.tls:
            return {}
        return {"Proxy-Authorization": self.proxy.credentials}

    async def connect(self) -> Connection:
        """A new connection, its TLS agreed on; OSError (or `ssl.SSLError`) where there is none."""
        make: Callable[[], Connection] = Connection
        loop, name = asyncio.get_running_loop(), self.host if self.tls else None
        if self.proxy and self.tls:
            tunnel = await _tunnel(self.proxy, f"{self.authority.removesuffix(f':{self.port}')}:{self.port}")
            _, connection = await loop.create_connection(make, sock=tunnel, ssl=self.tls, server_hostname=name)
        elif self.proxy:
            _, connection = await loop.create_connection(make, self.proxy.host, self.proxy.port)
        else:
            _, connection = await loop.create_connection(make, self.host, self.port, ssl=self.tls)
        return connection


def destination(url: str, trust_env: bool) -> Destination:
    """The way to `url`, by the environment's proxy (`HTTP_PROXY`, `NO_PROXY` …) where `trust_env` says so."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    proxy = _proxy(parts.scheme, host) if trust_env else None
    return Destination(host, parts.port or PORTS[parts.scheme], tls, path, proxy)


def _proxy(scheme: str, host: str) -> Proxy | None:
    """The environment's proxy for a host; only those that are spoken to in plain HTTP."""
    address = getproxies().get(scheme)
    if not address or proxy_bypass(host):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        return None
    credentials = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname, parts.port or PORTS["http"], credentials)


async def _tunnel(proxy: Proxy, authority: str) -> socket.socket:
    """A socket that a proxy has connected to `authority`."""
    loop, credentials = asyncio.get_running_loop(), proxy.credentials
    more = f"Proxy-Authorization: {credentials}\r\n" if credentials else ""
    request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n".encode()
    family, kind, protocol, _, place = (await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM))[0]
    tunnel = socket.socket(family, kind, protocol)
    try:
        tunnel.setblocking(False)
        await loop.sock_connect(tunnel, place)
        await loop.sock_sendall(tunnel, request)
        status = _status(await _head(tunnel))
        if not 200 <= status < 300:
            raise refusal(status, b"the proxy does not connect", None, time.time())
    except BaseException:
        tunnel.close()
        raise
    return tunnel


async def _head(tunnel: socket.socket) -> bytes:
    """A proxy's answer to CONNECT; it sends nothing behind it before we do."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await asyncio.get_running_loop().sock_recv(tunnel, 4096)
        if not piece or len(head) > LARGEST_HEAD_BYTES:
            raise ConnectionResetError("the proxy closed the connection")
        head += piece
    return head


def _status(head: bytes) -> int:
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionResetError("the proxy does not speak HTTP")
    return int(words[1])
