"""A server's `/metrics` address as people type it, and one look at what stands there.

Network faults become one line that says what failed and what to try.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http.client import HTTPException
from socket import gethostname
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from probes.errors import EnginescopeError, usage_error
from probes.metrics.exposition import Snapshot, parse

METRICS = "/metrics"
API = "/v1"
TIMEOUT_S = 10.0
LARGEST_BYTES = 64 * 2**20  # a server's text is some 100 KB; something endless must not fill the memory
HERE = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", gethostname())  # the last three are what servers print


@dataclass(frozen=True)
class Endpoint:
    """Where a server's metrics are: `scheme://host:port/path`."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def beside(self, path: str) -> str:
        """The whole address of another path of the same server."""
        return f"{self.scheme}://{self.authority}{self.path.removesuffix(METRICS)}{path}"

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine for certain."""
        return self.host in HERE or self.host.startswith("127.")


def endpoint(text: str) -> Endpoint:
    """Read an address.

    | typed                       | metrics at                           |
    | --------------------------- | ------------------------------------ |
    | `localhost:8000`            | `http://localhost:8000/metrics`      |
    | `http://host:8000/v1`       | `http://host:8000/metrics`           |
    | `https://host/llm/metrics`  | `https://host:443/llm/metrics`       |
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise usage_error(f"{text!r} is not a server's address ({error}); try http://127.0.0.1:8000") from None
    if parts.scheme not in ("http", "https") or not host:
        raise usage_error(f"{text!r} is not a server's address; try http://127.0.0.1:8000")
    if parts.username or parts.query:
        raise usage_error("give the address without a user name, key or query: it would be written to files")
    path = parts.path.rstrip("/").removesuffix(METRICS).removesuffix(API) + METRICS
    return Endpoint(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


class NoRedirects(HTTPRedirectHandler):
    """Stays with the server that was named: another one must not get the key."""

    def redirect_request(self, *_: object) -> None:
        """None: an answer that redirects is a refusal."""


def opener(at: Endpoint) -> OpenerDirector:
    """Asks that server alone. A proxy that the environment names is for the world outside, not for this machine."""
    return build_opener(NoRedirects, *([ProxyHandler({})] if at.is_local else []))


def look(at: Endpoint, timeout_s: float = TIMEOUT_S) -> Snapshot:
    """One look. Its time is when the server had been asked half-way: it counts somewhere in between."""
    began = time.monotonic()
    text = _fetch(at, timeout_s)
    try:
        return parse(text, (began + time.monotonic()) / 2)
    except EnginescopeError as error:
        raise EnginescopeError(f"{at.url}: {error}") from None


def _fetch(at: Endpoint, timeout_s: float) -> str:
    try:
        with opener(at).open(Request(at.url, headers={"Accept": "text/plain"}), timeout=timeout_s) as answer:
            body: bytes = answer.read(LARGEST_BYTES + 1)
    except HTTPError as error:
        raise EnginescopeError(f"{at.url} answers {error.code} {error.reason}; is this a vLLM server?") from None
    except URLError as error:
        raise EnginescopeError(f"no answer from {at.url}: {_reason(error.reason)}{_advice(error.reason)}") from None
    except (OSError, HTTPException) as error:
        raise EnginescopeError(f"no whole answer from {at.url}: {_reason(error)}") from None
    if len(body) > LARGEST_BYTES:
        raise EnginescopeError(f"{at.url} sends more than {LARGEST_BYTES >> 20} MiB: that is not a page of metrics")
    return body.decode("utf-8", errors="replace")


def _reason(error: object) -> str:
    """What went wrong, in the system's words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__


def _advice(error: object) -> str:
    return "; is the server up?" if isinstance(error, ConnectionRefusedError) else ""
