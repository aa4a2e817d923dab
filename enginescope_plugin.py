"""The entry point that vLLM loads in each of its processes (group `vllm.general_plugins`).

It returns at once, importing nothing, unless a command of this toolkit asked for a watcher through the environment.
What runs inside vLLM is loaded under a name of its own: no `tracing` or `probes` of the user's stands in its way.
"""

import os
from types import ModuleType

STEP_LOG = "ENGINESCOPE_STEP_LOG"  # a folder: each process that schedules writes its step log there
TRACE = "ENGINESCOPE_TRACE"  # a folder: each process writes its spans there
MODE = "ENGINESCOPE"  # "standby": the hooks are in place, and nothing is recorded until `tracing.attach` asks for it
RING = "ENGINESCOPE_RING"  # 60s or 64MiB: each process keeps its last spans in memory, for `tracing.attach --dump`
KEEP = "ENGINESCOPE_KEEP"  # conditions, between semicolons: what `tracing.attach --keep` does, without anybody there
KEEP_IN = "ENGINESCOPE_KEEP_DIR"  # the folder for that (default: one in `traces`, of the server's current folder)
KEEPING_RING = "60s"  # where no other is asked for
NVTX = "ENGINESCOPE_NVTX"  # NVIDIA's library: the same spans as NVTX ranges too, where a tool listens
LISTENER = "NVTX_INJECTION64_PATH"  # by which NVTX itself finds that tool, once in each process
PACKAGE = "enginescope_inside_vllm"  # what the folder `tracing` is called there


def load() -> None:
    """Install the watchers that the environment names; vLLM calls this once in every process it makes."""
    steps, trace = os.environ.get(STEP_LOG), os.environ.get(TRACE)
    keep = os.environ.pop(KEEP, None)  # out of the environment: the processes that this one starts are watched with it
    ring = os.environ.get(RING) or (KEEPING_RING if keep else None)
    stands = not trace and (os.environ.get(MODE) == "standby" or ring)
    if steps or trace or stands:
        install = hooks_module("install")
        if steps:
            install.install_step_log(steps)
        if stands:
            trace = os.environ[TRACE] = install.standing_folder(ring)
        if trace:
            install.install_recorder(trace, os.environ.get(NVTX) if LISTENER in os.environ else None)
        if trace and stands and keep:
            install.install_keeper(keep, os.environ.get(KEEP_IN))


def hooks_module(name: str) -> ModuleType:
    """A module of `tracing.hooks`, loaded from beside this file whatever else is called `tracing`."""
    import importlib
    import sys

    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "tracing")]
        sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.hooks.{name}")


def end_at_interrupt(room: str) -> None:
    """Until `run_main` has a command's `main`, Ctrl-C ends `python -m room.command` with a line and no traceback.

    Each room calls this before anything is imported. What is interrupted before that is Python's own start. A program
    of the user's that imports a room keeps its own ways.
    """
    import sys

    # While Python looks for the command, `-m` stands in `sys.argv` for it and all before it.
    if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].removeprefix("-m").startswith(f"{room}."):
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupted)


def interrupted(*_: object) -> None:
    """End at once; nothing is begun yet that would have to be put away."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def refuse_strangers(*rooms: str) -> None:
    """End a command, or an import, that would take a module of the user's for one of our packages `rooms`."""
    import sys
    from importlib.util import find_spec

    here = os.path.dirname(os.path.abspath(__file__))
    for room in rooms:
        spec = find_spec(room)
        origin = os.path.abspath(spec.origin) if spec and spec.origin else ""
        if origin != os.path.join(here, room, "__init__.py"):
            fault = f"{origin or 'a folder'} stands in front of enginescope's own {room}"
            message = f"{fault}: rename it, or leave the current folder out with python -P -m ..."
            if sys.argv[:1] == ["-m"]:  # Python is still looking for the command: no traceback for a user's mistake
                print(f"error: {message}", file=sys.stderr)
                raise SystemExit(2)
            raise ImportError(message)
