"""vLLM's own server, started for a variant that asks for one (`serve = true`) and stopped after it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probes.processes.engine import EngineFailed
from probes.processes.log import first_reason, refuses
from probes.programs import OWN_PYTHON
from probes.serve.client import free_port, healthy
from probes.serve.command import HOST, PROGRAM, flags
from probes.serve.process import NotReady, ServerProcess


@contextlib.contextmanager
def own_server(settings: Mapping[str, Any], model: Path | str, log: Path, limit_s: float) -> Iterator[str]:
    """A running server's base URL; `EngineFailed`, in its own words, where it does not come up within `limit_s`."""
    port = free_port()
    own = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()}
    words = flags({"model": str(model), "host": HOST, "port": port, **own})
    with ServerProcess([*OWN_PYTHON, "-m", PROGRAM, *words], log) as server:
        try:
            server.wait_ready(lambda: healthy(port), limit_s, lambda *_: None)
        except NotReady as failure:
            reason = first_reason(server.child.logged()) or f"the server ended while it {failure.doing}"
            raise EngineFailed(reason, refused=refuses(reason)) from None
        yield f"http://{HOST}:{port}/v1"
