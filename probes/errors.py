"""The one error that users see, and the one place that catches it.

Every room raises `EnginescopeError` for what a user can mend; only a command's `main` turns it into a line and an exit
code, so that a mistake never ends in a traceback.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from enginescope_plugin import interrupted

FAILED = 1
USAGE = 2
INCOMPLETE = 3
REGRESSION = 4  # a check for CI says slower
INCONCLUSIVE = 5  # a check for CI could not have found it
INTERRUPTED = 130
UNREAD = 128 + signal.SIGPIPE  # as a shell says it: who read our output went away, `| head`
# What a plain installation is without, and which of pyproject.toml's extras brings it.
EXTRAS = {"plotly": "charts", "ray": "ray"}
AGAIN_S = 0.02  # after which the callback that lost an interrupt is over


class EnginescopeError(Exception):
    """What failed, where, and what to run next; `code` is the exit code of the command that met it."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def usage_error(message: str) -> EnginescopeError:
    """An `EnginescopeError` for a command line or spec that cannot be run as written (exit code 2)."""
    return EnginescopeError(message, USAGE)


def run_main(main: Callable[[], int]) -> None:
    """Run a command's `main` and leave the process with its exit code; a user's mistake is one line on stderr."""
    code: int | str | None
    try:
        try:
            with _interruptible():
                code = main()
        except SystemExit as ended:  # --help; and what rich makes of a closed pipe
            code = UNREAD if isinstance(ended.__context__, BrokenPipeError) else ended.code
        if sys.stdout:
            sys.stdout.flush()  # here, and not when Python ends: a full disk is a failure that is told in a line
    except EnginescopeError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        print(f"error: this needs {missing}: pip install 'enginescope[{EXTRAS[missing]}]'", file=sys.stderr)
        code = FAILED
    except BrokenPipeError as error:
        code = UNREAD if _is_unread() else FAILED
        _discard_output()
        if code == FAILED:
            print(f"error: another process went away: {error}", file=sys.stderr)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _discard_output()
        print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        code = FAILED
    _flush_or_discard()  # a failed command, too, may have printed what a full disk does not take
    exec("")  # CPython ends by SIGINT if the last text it ran was interrupted, as a dataclass's is, though we caught it
    sys.exit(code)


def _is_unread() -> bool:
    """Whether who read our output went away."""
    outputs = select.poll()
    for descriptor in (1, 2):
        outputs.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in outputs.poll(0))


def _flush_or_discard() -> None:
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Let what is still in the buffer of stdout go nowhere, so that Python's end does not fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def terminable(number: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """A signal ends a command as Ctrl-C does: what is being written is finished, children are stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        with _sent_again(number):
            yield
    finally:
        signal.signal(number, before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises an interrupt, where until now it ended the process (`end_at_interrupt`)."""
    if signal.getsignal(signal.SIGINT) is interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with _sent_again(signal.SIGINT):
        yield


@contextmanager
def _sent_again(number: signal.Signals) -> Iterator[None]:
    """An interrupt that Python loses is sent again, as signal `number`.

    Python raises an interrupt wherever it is, and only prints it in a callback: of an import's lock, say, or where an
    object ends.
    """

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            hook(lost)
            return
        timers.append(threading.Timer(AGAIN_S, os.kill, (os.getpid(), number)))
        timers[-1].start()

    timers: list[threading.Timer] = []
    hook, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()  # behind the block, the signal would end the process by itself
        sys.unraisablehook = hook
