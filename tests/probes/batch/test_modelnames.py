"""The models that a server names: asked of that server alone, and none where it names none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from probes.batch.modelnames import model_names
from tests.probes.batch.batchclient import KEY, settings

BODIES = {
    "/good/v1/models": b'{"data": [{"id": "smollm2"}, {"id": "qwen"}]}',
    "/other/v1/models": b'{"models": ["smollm2"]}',
    "/html/v1/models": b"<html>",
}


class Answers(BaseHTTPRequestHandler):
    """Knows some paths, and sends whoever asks for another one to the first."""

    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.keys.append(self.headers["Authorization"])
        self.send_response(200 if self.path in BODIES else 307)
        self.send_header("Location", "/good/v1/models")
        self.end_headers()
        self.wfile.write(BODIES.get(self.path, b""))

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the tests' output is read."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("way", "names"), [("good", ["smollm2", "qwen"]), ("other", []), ("html", []), ("elsewhere", [])]
)
@pytest.mark.parametrize("mode", ["chat", "completion"])
def test_the_names(url: str, way: str, mode: str, names: list[str]) -> None:
    Answers.keys.clear()
    assert model_names(settings(url, way, mode), KEY) == names
    assert Answers.keys == [f"Bearer {KEY}"]  # once: a redirect is not followed


def test_nobody_there() -> None:
    assert model_names(settings("http://127.0.0.1:9", "good"), None) == []
