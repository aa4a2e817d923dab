"""The processes of one start of a variant: itself, vLLM's own server where it asks for one, and the sender."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from offline.spec.settings import EngineSettings
from offline.variants.process import start_variant
from offline.variants.sender import start_sender
from offline.variants.variant import SERVER, Variant
from probes.processes.engine import EngineFailed, EngineProcess
from probes.processes.log import first_reason, refuses
from probes.programs import OWN_PYTHON
from probes.serve.client import healthy, here
from probes.serve.command import HOST, PROGRAM, flags
from probes.serve.ports import free_port
from probes.serve.process import NotReady, ServerProcess


@contextlib.contextmanager
def own_server(settings: EngineSettings, model: Path | str, log: Path, limit_s: float) -> Iterator[str]:
    """A running server's base URL; `EngineFailed`, in its own words, where it ends or its log rests for `limit_s`."""
    port = free_port()
    own = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()}
    words = flags({"model": str(model), "host": HOST, "port": port, **own})
    with ServerProcess([*OWN_PYTHON, "-m", PROGRAM, *words], log) as server:
        try:
            server.wait_ready(lambda: healthy(here(port)), limit_s, lambda *_: None)
        except NotReady as failure:
            reason = first_reason(server.child.logged()) or f"the server ended while it {failure.doing}"
            raise EngineFailed(reason, refused=refuses(reason)) from None
        yield f"http://{HOST}:{port}/v1"


@dataclass(frozen=True)
class StartedVariant:
    """The variant's process with the settings that it is to be started with, and the sender's.

    `server_s` is how long a server of its own took to come up, in seconds.
    """

    engine: EngineProcess
    sender: EngineProcess
    settings: EngineSettings
    server_s: float | None = None

    def end(self) -> None:
        """Kill what runs, from another thread than the one that waits for it."""
        for process in (self.engine, self.sender):
            for member in process.child.members():
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()


@contextlib.contextmanager
def started(
    variant: Variant, model: Path | str, path: Path, environment: Mapping[str, str], limit_s: float
) -> Iterator[StartedVariant]:
    """The processes of one start, whose output goes to files in `path`; nothing of them outlives the block."""
    with contextlib.ExitStack() as stack:
        kind, settings = variant.form, {**variant.settings, "model": str(model)}
        server_s = None
        if variant.serve:
            began_s = time.monotonic()
            url = stack.enter_context(own_server(variant.settings, model, path / "server.txt", limit_s))
            kind, settings, server_s = SERVER, {"base_url": url}, time.monotonic() - began_s
        engine = stack.enter_context(start_variant(kind, path / "log.txt", settings, environment))
        sender = stack.enter_context(start_sender(path / "sender.txt"))
        yield StartedVariant(engine, sender, settings, server_s)
