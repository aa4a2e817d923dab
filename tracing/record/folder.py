"""The folder that a trace goes to, and its file `trace.json`."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from probes.errors import EnginescopeError, usage_error
from tracing.events import contention
from tracing.pyspy import recording, sampler
from tracing.pyspy.events import events

SCHEMA = 1
FILE = "trace.json"
TAKEN_OVER = "taken-over.txt"  # a line for each recorder inside the command: the folder that it writes into
OWN = {FILE, TAKEN_OVER, contention.FILE}
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


def write(folder: Path, trace: dict[str, Any]) -> None:
    """Write `trace.json`, whole or not at all; `EnginescopeError` where there is no room for it."""
    draft = folder / f"{FILE}.draft"
    try:
        draft.write_text(json.dumps(trace, indent=1))
        draft.replace(folder / FILE)
    except OSError as error:
        raise EnginescopeError(f"cannot write {folder / FILE}: {error.strerror}; name another with --out") from None


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
