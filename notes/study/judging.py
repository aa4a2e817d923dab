"""A learner's file, run through a day's exercises: each in a process of its own, under a time limit of its own.

The child loads the file and reports over a pipe what it is about to check and how that went, so that the place is known
where a file hangs or kills its Python, and the next exercise is judged all the same. What the file prints itself goes
straight to the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import os
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TextIO

from notes.study.exercises import Exercise, WrongAnswer
from notes.study.messages import (
    Broken,
    CheckBegins,
    Ended,
    ExerciseBegins,
    Failed,
    Message,
    NotDefined,
    Passed,
    decode,
    encode,
)

LIMIT_S = 30.0  # for one exercise
CHECK_S = 8.0  # for one check that awaits
CHILD = "from notes.study.judging import child; child()"


def exercises(day: int) -> tuple[Exercise, ...]:
    """A day's exercises, in order."""
    exercises: tuple[Exercise, ...] = importlib.import_module(f"notes.study.exercises.day_{day}").EXERCISES
    return exercises


def judge(day: int, path: Path, limit_s: float = LIMIT_S) -> Iterator[Message]:
    """Run the file, once for each exercise, and yield what is reported, as it comes; `Ended` closes each run.

    A file that cannot be loaded, or not in time, is run only once.
    """
    for number in range(len(exercises(day))):
        loaded = False
        for message in _in_child(day, number, path, limit_s):
            loaded = loaded or isinstance(message, ExerciseBegins)
            yield message
        if not loaded:
            return


def _in_child(day: int, number: int, path: Path, limit_s: float) -> Iterator[Message]:
    """One exercise's messages, and last how its process ended."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(day), str(number), str(path), str(write)],
        pass_fds=(write,),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(write)
    end = Ended("late")
    try:
        with open(read, "rb", buffering=0) as pipe:
            for message in _messages(pipe.fileno(), time.monotonic() + limit_s):
                if isinstance(message, Ended):
                    end = message
                    break
                yield message
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with whatever the file started
        process.wait()
    yield end


def _messages(pipe: int, deadline: float) -> Iterator[Message]:
    """What comes until the deadline; a pipe that is closed before the child is done counts as its death."""
    rest = b""
    while (left_s := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], left_s)[0]:
        chunk = os.read(pipe, 65536)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(decode, lines)
        if not chunk:
            yield Ended("died")


# --- in the child ---


def child() -> None:
    """Run the file that the parent names; the process then ends at once, threads of the file's or not."""
    sys.dont_write_bytecode = True
    _quieten()
    day, number, path, write = sys.argv[1:]
    with open(int(write), "w") as pipe:
        run(exercises(int(day))[int(number) :][:1], Path(path), pipe)
        sys.stdout.flush()
        _report(pipe, Ended("done"))
    os._exit(0)


def run(chosen: Sequence[Exercise], path: Path, pipe: TextIO) -> None:
    """Load the file and run these exercises' checks on it, and report how each goes."""
    mine = load(path, pipe)
    for exercise in chosen if mine else ():
        _run(exercise, mine, path, pipe)


def _quieten() -> None:
    """The checks report tasks that a wrong answer left behind, in better words than asyncio."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None


def _report(pipe: TextIO, message: Message) -> None:
    pipe.write(encode(message) + "\n")
    pipe.flush()


def load(path: Path, pipe: TextIO) -> ModuleType | SimpleNamespace | None:
    """The module that the learner's file makes, or an object with its text as `report`; None where it is broken."""
    if path.suffix == ".md":
        return SimpleNamespace(report=path.read_text(errors="replace"))
    loader = SourceFileLoader("answer", str(path))
    spec = spec_from_loader("answer", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["answer"] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        _report(pipe, Broken(f"line {error.lineno}: {error.msg}", ((error.text or "").strip(),)))
    except SystemExit:
        _report(pipe, Broken("it ends Python while it is loaded: put that under if __name__ == '__main__'", ()))
    except BaseException as error:
        _report(pipe, Broken(_named(error), own_lines(error, path)))
    else:
        return module
    return None


def _run(exercise: Exercise, mine: object, path: Path, pipe: TextIO) -> None:
    _report(pipe, ExerciseBegins(exercise.name))
    if not hasattr(mine, exercise.name):
        _report(pipe, NotDefined())
        return
    for check in exercise.checks:
        sentence = inspect.getdoc(check) or ""
        _report(pipe, CheckBegins(sentence))
        try:
            _report(pipe, Passed(sentence, _measurement(check, mine)))
        except WrongAnswer as wrong:
            _report(pipe, Failed(sentence, str(wrong), wrong.hint, ()))
            return
        except BaseException as error:  # the learner's, whatever it is; a SystemExit too
            _report(pipe, Failed(sentence, f"it raised {_named(error)}", "", own_lines(error, path)))
            return


def _measurement(check: Callable[[Any], Any], mine: object) -> str | None:  # each exercise has its own `mine`
    """What a check measured; raises what it raises."""
    if not inspect.iscoroutinefunction(check):
        measurement: str | None = check(mine)
        return measurement
    return asyncio.run(_in_time(check(mine)))


async def _in_time(check: Awaitable[str | None]) -> str | None:
    task = asyncio.ensure_future(check)
    done, _ = await asyncio.wait({task}, timeout=CHECK_S)
    if not done:
        raise WrongAnswer(f"it had not come back after {CHECK_S:.0f} s", "what does it await that never happens?")
    return task.result()


def _named(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def own_lines(error: BaseException, path: Path) -> tuple[str, ...]:
    """Of an exception's traceback only what is in the learner's file, the innermost last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return tuple(f"line {frame.lineno}, in {frame.name}: {frame.line}" for frame in frames)
