"""One request at a time to a server: a whole answer, or the events of a stream as they arrive.

A redirect is an answer like any other: it is not followed, so that no other server gets the key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from probes.metrics.endpoint import METRICS, Endpoint, opener
from probes.serve.command import HOST

TIMEOUT_S = 60.0
HEALTH_S = 2.0
DONE = "[DONE]"
DATA = b"data:"
Opened = HTTPResponse | HTTPError  # an answer of any status, not yet read


class NoAnswer(Exception):
    """The server did not answer, or not to the end; the system's words."""


@dataclass(frozen=True)
class Response:
    """A whole answer; `body` is JSON where it was, else text."""

    status: int
    body: Any  # each check knows the form that it asks for


def here(port: int) -> Endpoint:
    """A server on this machine."""
    return Endpoint("http", HOST, port, METRICS)


def ask(at: Endpoint, path: str, body: object = None, timeout_s: float = TIMEOUT_S, key: str | None = None) -> Response:
    """GET a path, or POST `body` to it: JSON, or the bytes as they are."""
    with _asked(at, path, body, timeout_s, key) as answer:
        status, text = answer.status or 0, answer.read().decode(errors="replace")
    try:
        return Response(status, json.loads(text))
    except ValueError:
        return Response(status, text)


def healthy(at: Endpoint) -> bool:
    """Whether a server says that it is well."""
    try:
        return ask(at, "/health", timeout_s=HEALTH_S).status == 200
    except NoAnswer:
        return False


def stream(
    at: Endpoint, path: str, body: object, timeout_s: float = TIMEOUT_S, key: str | None = None
) -> Generator[tuple[float, str], None, None]:
    """The data of each event and when it came (`time.monotonic`). Closing the generator hangs up on the server."""
    with _asked(at, path, body, timeout_s, key) as answer:
        if answer.status != 200:
            raise NoAnswer(f"{answer.status}: {answer.read(500).decode(errors='replace')}")
        for line in answer:
            if line.startswith(DATA):
                yield time.monotonic(), line.removeprefix(DATA).decode(errors="replace").strip()


@contextmanager
def _asked(at: Endpoint, path: str, body: object, timeout_s: float, key: str | None) -> Iterator[Opened]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with closing(_opened(at, Request(at.beside(path), body, headers), timeout_s)) as answer:
            yield answer
    except URLError as error:
        raise NoAnswer(f"{type(error.reason).__name__}: {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from None


def _opened(at: Endpoint, request: Request, timeout_s: float) -> Opened:
    """The answer, whatever its status."""
    try:
        answer: HTTPResponse = opener(at).open(request, timeout=timeout_s)
    except HTTPError as refusal:
        return refusal
    return answer
