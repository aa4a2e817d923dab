"""The server of the client's benchmark: the stub server's own bytes at its pace, sent by a small program in C.

The stub server is the limit itself: one core of Python lets some 1,600 streams of 32 tokens through a second.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.probes.client.stub_server import Paced

SOURCE = Path(__file__).with_name("server.c")


@contextmanager
def paced_server(think_s: float, tokens: int, interval_s: float, core: int | None = None) -> Iterator[str]:
    """Its address, while it serves; needs the system's `cc`."""
    paced = Paced(think_s, tokens, interval_s)
    begun, *others = paced.events[False]
    pieces = [paced.bodies[False], paced.head + begun, *others]
    lengths = " ".join(str(len(piece)) for piece in pieces)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "server"
        subprocess.run(["cc", "-O2", "-o", program, SOURCE], check=True)
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        command = [*pinned, program, str(round(think_s * 1e9)), str(round(interval_s * 1e9))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            try:
                process.stdin.write(f"{lengths}\n".encode() + b"".join(pieces))
                process.stdin.close()
                yield f"http://127.0.0.1:{int(process.stdout.readline())}"
            finally:
                process.kill()
