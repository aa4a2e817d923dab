"""vLLM's own profiler, started and stopped over some steps of a server that was started for it."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from probes.errors import EnginescopeError
from probes.metrics.endpoint import METRICS, Endpoint
from tracing.torchsums.trace import FOLDER

Profiler = Literal["torch", "nsys"]
KINDS: dict[Profiler, str] = {"torch": "torch", "nsys": "cuda"}  # what vLLM calls each
OPTION = "--profiler-config"
FOR = {  # how a server is started for each
    "torch": """vllm serve … --profiler-config '{"profiler": "torch", "torch_profiler_dir": "/tmp/torch"}'""",
    "nsys": 'nsys profile --capture-range=cudaProfilerApi … vllm serve … --profiler-config \'{"profiler": "cuda"}\'',
}
ANSWER_S = 120.0  # a profiler that is stopped writes its file first


@dataclass(frozen=True)
class ProfilerConfig:
    """The part of a server's profiler configuration that matters here; '' where it has none."""

    profiler: str
    folder: str


@dataclass(frozen=True)
class LiveProfile:
    """What is asked of a server: a profiler over so many steps. `prefix` is in the names of its files."""

    server: Endpoint
    profiler: Profiler
    steps: int
    folder: Path
    prefix: str

    @contextmanager
    def running(self) -> Iterator[Callable[[], bool]]:
        """Let it run for the block at most; gives what says whether all steps were seen.

        vLLM stops it after the last step; of torch's that is known by its file.
        """
        self._post("start_profile", {"profile_prefix": self.prefix, "max_iterations": self.steps})
        try:
            yield lambda: bool(self.files())
        finally:
            self._post("stop_profile", {})

    def renewed(self) -> LiveProfile:
        """Another one like it, with files of its own."""
        return replace(self, prefix=_prefix())

    def files(self) -> list[Path]:
        """The traces of torch's profiler so far."""
        return sorted(self.folder.rglob(f"*{self.prefix}*.json*")) if self.profiler == "torch" else []

    def collect(self, folder: Path) -> list[str]:
        """Put its traces into a trace folder; what is missing, a line each."""
        if self.profiler == "nsys":
            return []
        if not self.files():
            return [f"torch's profiler left no trace in {self.folder}: did a step run meanwhile?"]
        (folder / FOLDER).mkdir()
        for path in self.files():
            shutil.copy(path, folder / FOLDER)
        return []

    def _post(self, path: str, body: Mapping[str, object]) -> None:
        at = f"{self.server.url.removesuffix(METRICS)}/{path}"
        request = Request(at, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=ANSWER_S):
                return
        except HTTPError as error:
            why = f"answers {error.code}"
        except (OSError, HTTPException) as error:
            why = f"does not answer ({error})"
        raise EnginescopeError(f"{at} {why}: the server has to be started with a profiler: {FOR[self.profiler]}")


def live_profile(server: Endpoint, pid: int, profiler: Profiler, steps: int) -> LiveProfile:
    """The profile of a server whose process is known; `EnginescopeError` where it was not started for that."""
    try:
        config = profiler_config(psutil.Process(pid).cmdline())
    except psutil.Error:
        config = ProfilerConfig("", "")
    if config.profiler != KINDS[profiler] or (profiler == "torch" and not config.folder):
        raise EnginescopeError(f"process {pid} was not started for --{profiler}: {FOR[profiler]}")
    return LiveProfile(server, profiler, steps, Path(config.folder), _prefix())


def _prefix() -> str:
    return f"enginescope-{secrets.token_hex(4)}"


def profiler_config(words: Sequence[str]) -> ProfilerConfig:
    """What a command line says of the profiler.

    | words                                                                       | profiler | folder |
    | --------------------------------------------------------------------------- | -------- | ------ |
    | `--profiler-config '{"profiler": "torch", "torch_profiler_dir": "/t"}'`      | torch    | /t     |
    | `--profiler-config.profiler=torch --profiler-config.torch_profiler_dir /t`  | torch    | /t     |
    """
    values: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, given = word.partition("=")
        name, value = name.replace("_", "-", 2) if name.startswith("--profiler_") else name, given or following
        if name == OPTION:
            values |= _object(value)
        elif name.startswith(f"{OPTION}."):
            values[name.removeprefix(f"{OPTION}.").replace("-", "_")] = value
    return ProfilerConfig(values.get("profiler", ""), values.get("torch_profiler_dir", ""))


def _object(text: str) -> dict[str, str]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {}
    return {name: str(each) for name, each in value.items()} if isinstance(value, dict) else {}
