"""The recorded command: in which environment it runs, under which watcher, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from enginescope_plugin import NVTX, TRACE
from probes.devices import nvtxlibrary
from probes.errors import EnginescopeError, usage_error
from probes.privacy.secretvalues import secret_variables, secret_words
from tracing.nsys import capture
from tracing.record.folder import take_over
from tracing.record.launch import hand_over

SENTINEL_S = 0.3  # a process that a signal ends is gone sooner; a signal for us alone waits so long


@dataclass(frozen=True)
class Watchers:
    """What watches beside the recorder; `py_spy` is its samples a second, 0 for none."""

    nvtx: bool
    nsys: bool
    py_spy: int


def environment(folder: Path, nvtx: bool) -> dict[str, str]:
    """The command's environment: the plugin is told its folder."""
    if outer := os.environ.get(TRACE):
        take_over(Path(outer), folder)
    variables = with_plugin(os.environ | {TRACE: str(folder)})
    if nvtx:
        variables[NVTX] = nvtx_library()
    return variables


def with_plugin(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment in which vLLM loads the plugin: a `VLLM_PLUGINS` that would leave it out is lengthened."""
    chosen = variables.get("VLLM_PLUGINS")
    if chosen is None or "enginescope" in chosen.split(","):
        return dict(variables)
    return {**variables, "VLLM_PLUGINS": ",".join(filter(None, (chosen, "enginescope")))}


def nvtx_library() -> str:
    """NVIDIA's library, by which the ranges are made; `EnginescopeError` where there is none."""
    try:
        return str(nvtxlibrary.library())
    except OSError as error:
        raise EnginescopeError(f"cannot write NVTX ranges: {error}") from None


def run_watched(command: list[str], folder: Path, watchers: Watchers) -> int:
    """Run the command, under nsys where that watches; its exit code.

    nsys stores the command line and the environment it is started with: secrets go past it.
    """
    env = environment(folder, watchers.nvtx)
    if not watchers.nsys:
        return run(command, env)
    secrets = secret_variables(env)
    inherited: tuple[int, ...] = ()
    started = command
    if secrets or secret_words(command):
        started, descriptor = hand_over(command, secrets)
        inherited = (descriptor,)
    # What the caller has in the environment goes before what nsys would like there.
    public = {name: value for name, value in (capture.ENVIRONMENT | env).items() if name not in secrets}
    under_nsys = capture.under(started, folder)
    if shutil.which(command[0], path=env.get("PATH")) is None:  # nsys would end with 1, as a command that fails does
        reason = errno.EACCES if Path(command[0]).exists() else errno.ENOENT
        raise usage_error(f"cannot run {command[0]!r}: {os.strerror(reason)}")
    return run(under_nsys, public, inherited)


def run(command: list[str], env: dict[str, str], inherited: tuple[int, ...] = ()) -> int:
    """Run the command in the foreground; signals go to it, and its exit code comes back as a shell's would."""
    try:
        child = subprocess.Popen(command, env=env, pass_fds=inherited)
    except OSError as error:
        raise usage_error(f"cannot run {command[0]!r}: {error.strerror}") from None
    with passed_on(child):
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGINT and SIGTERM go on to the child, once: not where it got them itself, being in the same process group.

    A terminal's Ctrl-C goes to the whole group, as may `timeout`, a shell's `kill %1` or a CI runner; `kill PID` does
    not. A signal does not say which: a sentinel in the group, which it ends, does.
    """
    sentinel = _sentinel()

    def forward(number: int, _: object) -> None:
        nonlocal sentinel
        if _was_ended(sentinel):
            sentinel = _sentinel()
        else:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sentinel.communicate()


def _sentinel() -> subprocess.Popen[bytes]:
    """A program that ends with the first signal; and with us, whose end of its pipe is then closed."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def _was_ended(sentinel: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        sentinel.wait(SENTINEL_S)
    return sentinel.returncode is not None
