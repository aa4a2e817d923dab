"""py-spy's dump of one process; it stops the process for as long as the dump takes, and changes nothing."""

from __future__ import annotations

import subprocess

from probes.errors import EnginescopeError
from tracing.hang.dump import ProcessDump
from tracing.hang.texts.dumptext import read_text
from tracing.pyspy.process import py_spy, refusal

LIMIT_S = 10.0  # py-spy itself may hang, and its death lets the process go on


def dumped(pid: int, title: str, stopped: bool = False, native: bool = False) -> ProcessDump:
    """The dump; `EnginescopeError` says why there is none.

    A process that is `stopped` stands still by itself, and must not be let go: py-spy leaves it alone then.
    """
    options = [*(["--nonblocking"] if stopped else []), *(["--native"] if native else [])]
    command = [str(py_spy()), "dump", "--full-filenames", *options, "--pid", str(pid)]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, errors="replace")
    except subprocess.TimeoutExpired:
        raise EnginescopeError(f"py-spy got no stack of process {pid} within {LIMIT_S:.0f} s") from None
    if process.returncode:
        raise EnginescopeError(refusal(process.stderr, pid))
    try:
        dump = read_text(process.stdout, f"process {pid}").dumps[0]
    except EnginescopeError:
        if not native:  # Python starts, or ends: C's functions are all that there is
            return dumped(pid, title, stopped, native=True)
        raise EnginescopeError(f"py-spy found no function in process {pid}") from None
    return ProcessDump(pid, title, dump.threads, "py-spy")
