"""The folder that a trace goes to."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Collection
from pathlib import Path

from probes import columns
from probes.errors import EnginescopeError, usage_error
from tracing.events import contention, tracefile
from tracing.pyspy import recording, sampler
from tracing.pyspy.events import events

TAKEN_OVER = "taken-over.txt"  # a line for each recorder inside the command: the folder that it writes into
OWN = {tracefile.FILE, TAKEN_OVER, contention.FILE, columns.FILE}
SAMPLES = {recording.FILE, sampler.EVENTS, sampler.STAMPS, sampler.LOG}


def new_folder(asked: Path | None) -> Path:
    """Make the folder; refuses one that holds something."""
    folder = asked or Path("traces", f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise usage_error(f"{folder} is not empty; name another folder with --out")
    except OSError as error:
        raise EnginescopeError(f"cannot make the trace folder {folder}: {error.strerror}") from None
    return folder.resolve()


def take_over(outer: Path, folder: Path) -> None:
    """Tell the recorder around this one, which writes into `outer`, that the command's processes report to `folder`."""
    with contextlib.suppress(OSError), (outer / TAKEN_OVER).open("a") as file:
        file.write(f"{folder}\n")


def taken_over(folder: Path) -> list[str]:
    """The folders of the recorders inside the command; one that recorded nothing has left none."""
    with contextlib.suppress(OSError):
        return [line for line in (folder / TAKEN_OVER).read_text().splitlines() if Path(line).exists()]
    return []


def is_empty(folder: Path, without: Collection[str] = ()) -> bool:
    """Whether nothing there is of the command: only what we wrote, and samples of the machine and of ourselves.

    Files of the names in `without` do not count.
    """
    names = {path.name for path in folder.iterdir()}.difference(without)
    return names <= OWN or (names <= OWN | SAMPLES and not _has_samples_of_command(folder))


def _has_samples_of_command(folder: Path) -> bool:
    root = recording.read(folder).root
    file = folder / sampler.EVENTS
    return file.exists() and any(event is not None and event["pid"] != root for event in events(file))


def discard(folder: Path) -> None:
    """Remove the folder with the files that the recorder and its watchers put there; it was empty before."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
