"""vLLM's own server, started for a variant that asks for one (`serve = true`) and stopped after it."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.processes.engine import EngineFailed
from probes.processes.log import first_reason, refuses
from probes.programs import OWN_PYTHON
from probes.serve.command import HOST, PROGRAM, flags
from probes.serve.process import NotReady, ServerProcess

ANSWER_S = 2.0


@contextlib.contextmanager
def own_server(settings: Mapping[str, Any], model: Path | str, log: Path, limit_s: float) -> Iterator[str]:
    """A running server's base URL; `EngineFailed`, in its own words, where it does not come up within `limit_s`."""
    port = free_port()
    own = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()}
    words = flags({"model": str(model), "host": HOST, "port": port, **own})
    with ServerProcess([*OWN_PYTHON, "-m", PROGRAM, *words], log) as server:
        try:
            server.wait_ready(lambda: answers(port), limit_s, lambda *_: None)
        except NotReady as failure:
            reason = first_reason(server.child.logged()) or f"the server ended while it {failure.doing}"
            raise EngineFailed(reason, refused=refuses(reason)) from None
        yield f"http://{HOST}:{port}/v1"


def answers(port: int) -> bool:
    """Whether the server says that it is well."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=ANSWER_S):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
