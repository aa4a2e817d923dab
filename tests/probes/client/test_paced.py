"""The benchmark's server in C sends what the stub server's paced answers are, byte for byte."""

from __future__ import annotations

import shutil
import socket

import pytest

from tests.bench.pacing.server import paced_server
from tests.probes.client.stub_server import Paced

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
PACED = Paced(0.0, 4, 0.001)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"prompt":"hi","stream":true}', PACED.head + b"".join(PACED.events[False])),
        (b'{"prompt": "hi", "stream": true}', PACED.head + b"".join(PACED.events[False])),
        (b'{"prompt": "hi"}', PACED.bodies[False]),
    ],
)
def test_answers_follow_each_other_on_a_connection(body: bytes, answer: bytes) -> None:
    request = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with paced_server(PACED.think_s, PACED.tokens, PACED.interval_s) as url:
        host, port = url.removeprefix("http://").split(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as connection,
            connection.makefile("rb") as answers,
        ):
            for _ in range(2):
                connection.sendall(request[:20])  # a request may come in pieces
                connection.sendall(request[20:])
                assert answers.read(len(answer)) == answer
