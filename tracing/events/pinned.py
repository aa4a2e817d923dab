"""What a standing core says of requests that have run for long: a ring may have lost their beginning.

`pinned-<pid>.txt` has a line a request: when it came to the engine, in nanoseconds of CLOCK_MONOTONIC, the tokens of
its prompt, and its internal id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PinnedRequest:
    """A request that runs, or ran within the last second."""

    begin_ns: int
    prompt_tokens: int


def path_of(folder: Path, pid: int) -> Path:
    """The file of a process."""
    return folder / f"pinned-{pid}.txt"


def write(folder: Path, pid: int, pins: Mapping[str, PinnedRequest]) -> None:
    """Write the file, whole or not at all."""
    draft = path_of(folder, pid).with_suffix(".draft")
    draft.write_text("".join(f"{pin.begin_ns} {pin.prompt_tokens} {name}\n" for name, pin in pins.items()))
    os.replace(draft, path_of(folder, pid))


def read(folder: Path) -> dict[str, PinnedRequest]:
    """The pinned requests of all cores of a folder, by internal id; a line that is none of ours is left out."""
    pins = {}
    for path in sorted(folder.glob("pinned-*.txt")):
        with suppress(OSError):
            for line in path.read_text().splitlines():
                with suppress(ValueError):
                    begin, tokens, name = line.split(" ", 2)
                    pins[name] = PinnedRequest(int(begin), int(tokens))
    return pins
