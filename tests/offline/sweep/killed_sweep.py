"""Runs the sweep, which kills itself at a call that KILL_AT names: `write:3` is in the middle of the third record.

A place in the code, unlike a moment in time, is the same on a fast machine and on a slow one. ENGINES_FIT says how many
engines the memory holds, whatever is free.
"""

import os
import runpy
import select
import signal
import sys

from offline.spec import memory

LONG_BYTES = 1000  # records are the only long writes of the sweep itself
MODULES = {"write": os, "fsync": os, "replace": os, "select": select}
name, number = os.environ.pop("KILL_AT", "write:0").split(":")
calls_left = int(number)
original = getattr(MODULES[name], name)


def call_or_die(*arguments):
    global calls_left
    long = name != "write" or len(arguments[1]) >= LONG_BYTES
    calls_left -= long
    if long and calls_left == 0:
        if name == "write":
            original(arguments[0], arguments[1][: LONG_BYTES // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)


setattr(MODULES[name], name, call_or_die)
if fit := os.environ.pop("ENGINES_FIT", None):
    memory.engines_alive = lambda grid, *_: min(int(fit), len(grid))
sys.argv = ["offline.sweep", *sys.argv[1:]]
runpy.run_module("offline.sweep", run_name="__main__")
