"""A trace folder that is written only while its switch is on: for engines of our own, of which a part is recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

from enginescope_plugin import TRACE
from probes.errors import EnginescopeError
from tracing.events.standing import PAUSED, RECORDING, SWITCH, SWITCH_BYTES
from tracing.record import trace
from tracing.record.command import Watchers
from tracing.record.folder import discard, is_empty
from tracing.record.watched import missing


class SwitchedTrace:
    """The folder, switched off; engines that are started with `environment` have their hooks in place and call through.

    A context manager around the engine's life. All of its processes look at one byte of a mapped file, so that they are
    turned on and off in the same instant.
    """

    def __init__(self, folder: Path, command: str) -> None:
        self.folder, self.command, self._switch = folder, command, folder / SWITCH
        try:
            folder.mkdir(parents=True)
            self._switch.write_bytes(SWITCH_BYTES.pack(PAUSED, 0))
        except OSError as error:
            raise EnginescopeError(f"cannot make the trace folder {folder}: {error.strerror}") from None
        self._begun = trace.begin(folder, command, Watchers(nvtx=False, nsys=False, py_spy=0))

    @property
    def environment(self) -> dict[str, str]:
        """What the engine's processes need in their environment."""
        return {TRACE: str(self.folder.resolve())}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record for the block."""
        self._turn(RECORDING)
        try:
            yield
        finally:
            self._turn(PAUSED)

    def __enter__(self) -> SwitchedTrace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Complete the folder, now that the engine is gone; one to which no process wrote is removed."""
        self._switch.unlink(missing_ok=True)
        if is_empty(self.folder):
            discard(self.folder)
            return
        try:
            problems = missing(self.folder, [self.command])
        except EnginescopeError as unreadable:
            problems = [str(unreadable)]
        with suppress(EnginescopeError) if kind else nullcontext():  # what ended the engine is what a user must hear
            trace.end(self.folder, self._begun, 0, problems)

    def _turn(self, state: int) -> None:
        descriptor = os.open(self._switch, os.O_WRONLY)
        try:
            os.pwrite(descriptor, SWITCH_BYTES.pack(state, 0), 0)
        finally:
            os.close(descriptor)
