"""One request at a time to a server on this machine: a whole answer, or the events of a stream as they arrive.

What is asked here goes straight to the server, by no proxy that the environment names.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from probes.serve.command import HOST

TIMEOUT_S = 60.0
HEALTH_S = 2.0
DONE = "[DONE]"
DATA = b"data:"


class NoAnswer(Exception):
    """The server did not answer, or not to the end; the system's words."""


@dataclass(frozen=True)
class Response:
    """A whole answer; `body` is JSON where it was, else text."""

    status: int
    body: Any


def ask(port: int, path: str, body: object = None, timeout_s: float = TIMEOUT_S) -> Response:
    """GET a path, or POST `body` to it: JSON, or the bytes as they are."""
    with _asked(port, path, body, timeout_s) as answer:
        text = answer.read().decode(errors="replace")
    try:
        return Response(answer.status, json.loads(text))
    except ValueError:
        return Response(answer.status, text)


def healthy(port: int) -> bool:
    """Whether a server says that it is well."""
    try:
        return ask(port, "/health", timeout_s=HEALTH_S).status == 200
    except NoAnswer:
        return False


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as any_port:
        any_port.bind((HOST, 0))
        return int(any_port.getsockname()[1])


def stream(
    port: int, path: str, body: object, timeout_s: float = TIMEOUT_S
) -> Generator[tuple[float, str], None, None]:
    """The data of each event and when it came (`time.monotonic`). Closing the generator hangs up on the server."""
    with _asked(port, path, body, timeout_s) as answer:
        if answer.status != 200:
            raise NoAnswer(f"{answer.status}: {answer.read(500).decode(errors='replace')}")
        for line in answer:
            if line.startswith(DATA):
                yield time.monotonic(), line.removeprefix(DATA).decode(errors="replace").strip()


@contextmanager
def _asked(port: int, path: str, body: object, timeout_s: float) -> Iterator[HTTPResponse]:
    connection = HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        try:
            yield answer
        finally:
            answer.close()
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()
