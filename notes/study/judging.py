"""One run of a learner's file through a day's exercises: in a process of its own, under a time limit.

The child loads the file and says over a pipe, a JSON line each, what it is about to check and how that went; so a file
that hangs or kills its Python is told where. What the file prints itself goes straight to the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from notes.study.exercises import Exercise, Wrong

LIMIT_S = 45.0  # for a whole file
CHECK_S = 8.0  # for one check that awaits
CHILD = "from notes.study.judging import child; child()"
Message = dict[str, Any]


def exercises(day: int) -> tuple[Exercise, ...]:
    """A day's exercises, in order."""
    found: tuple[Exercise, ...] = importlib.import_module(f"notes.study.exercises.day_{day}").EXERCISES
    return found


def sit(day: int, path: Path, limit_s: float = LIMIT_S) -> Iterator[Message]:
    """Run the file and yield what the child says, as it says it; last of all `end` with how the child ended.

    | message                                   | when                                              |
    | ----------------------------------------- | ------------------------------------------------- |
    | `{"broken": text, "at": [line, …]}`       | the file cannot be loaded; nothing follows        |
    | `{"exercise": name}`                      | an exercise begins                                |
    | `{"missing": true}`                       | … which the file does not define                  |
    | `{"check": sentence}`                     | a check begins                                    |
    | the same and `"right": measured or null`  | it passed                                         |
    | … or `"wrong": what, "hint": …, "at": […]`| it did not: the exercise ends with it             |
    | `{"end": "done", "late" or "died"}`       | the child is gone, in the middle unless it was done |
    """
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(day), str(path), str(write)],
        pass_fds=(write,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(write)
    ended = "late"
    try:
        with open(read, "rb", buffering=0) as pipe:
            for message in _messages(pipe.fileno(), time.monotonic() + limit_s):
                if "over" in message:
                    ended = message["over"]
                    break
                yield message
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with whatever the file started
        process.wait()
    yield {"end": ended}


def _messages(pipe: int, deadline: float) -> Iterator[Message]:
    """What comes until the deadline; a pipe that is closed before all was said counts as the child's death."""
    rest = b""
    while (left_s := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], left_s)[0]:
        chunk = os.read(pipe, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines)
        if not chunk:
            yield {"over": "died"}


# --- in the child ---


def child() -> None:
    """Run the file that the parent names; the process then ends at once, threads of the file's or not."""
    sys.dont_write_bytecode = True
    _quieten()
    with open(int(sys.argv[3]), "w") as pipe:
        run(int(sys.argv[1]), Path(sys.argv[2]), pipe)
        sys.stdout.flush()
        _say(pipe, over="done")
    os._exit(0)


def run(day: int, path: Path, pipe: TextIO) -> None:
    """Load the file and run the day's checks on it, saying how each goes, a line of JSON each."""
    mine = load(path, pipe)
    for exercise in exercises(day) if mine else ():
        _run(exercise, mine, path, pipe)


def _quieten() -> None:
    """What asyncio says of tasks that a wrong answer left behind is said by the checks, in better words."""
    import logging
    import warnings

    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None


def _say(pipe: TextIO, **message: object) -> None:
    pipe.write(json.dumps(message) + "\n")
    pipe.flush()


def load(path: Path, pipe: TextIO) -> Any:
    """The module that the learner's file makes, or an object with its text as `report`; None where it is broken."""
    if path.suffix == ".md":
        return SimpleNamespace(report=path.read_text(errors="replace"))
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    loader = SourceFileLoader("answer", str(path))
    spec = spec_from_loader("answer", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["answer"] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        _say(pipe, broken=f"line {error.lineno}: {error.msg}", at=[(error.text or "").strip()])
    except SystemExit:
        _say(pipe, broken="it ends Python while it is loaded: put that under if __name__ == '__main__'", at=[])
    except BaseException as error:
        _say(pipe, broken=_named(error), at=own_lines(error, path))
    else:
        return module
    return None


def _run(exercise: Exercise, mine: Any, path: Path, pipe: TextIO) -> None:
    _say(pipe, exercise=exercise.name)
    if not hasattr(mine, exercise.name):
        _say(pipe, missing=True)
        return
    for check in exercise.checks:
        sentence = inspect.getdoc(check)
        _say(pipe, check=sentence)
        try:
            _say(pipe, check=sentence, right=_checked(check, mine))
        except Wrong as wrong:
            _say(pipe, check=sentence, wrong=str(wrong), hint=wrong.hint, at=[])
            return
        except BaseException as error:  # the learner's, whatever it is; a SystemExit too
            _say(pipe, check=sentence, wrong=f"it raised {_named(error)}", hint="", at=own_lines(error, path))
            return


def _checked(check: Callable[[Any], Any], mine: Any) -> str | None:
    if not inspect.iscoroutinefunction(check):
        measured: str | None = check(mine)
        return measured
    return asyncio.run(_in_time(check(mine)))


async def _in_time(check: Any) -> str | None:
    task = asyncio.ensure_future(check)
    done, _ = await asyncio.wait({task}, timeout=CHECK_S)
    if not done:
        raise Wrong(f"it had not come back after {CHECK_S:.0f} s", "what does it await that never happens?")
    measured: str | None = task.result()
    return measured


def _named(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def own_lines(error: BaseException, path: Path) -> list[str]:
    """Of an exception's traceback only what is in the learner's file, the innermost last."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return [f"line {frame.lineno}, in {frame.name}: {frame.line}" for frame in frames]
