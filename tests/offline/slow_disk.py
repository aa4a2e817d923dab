"""Runs the sweep with a disk that takes 64 bytes at a time, so that a kill can fall into the middle of a line."""

import os
import runpy
import sys
import time

write_at_once = os.write


def write_slowly(fd: int, data: bytes) -> int:
    # Records are the only writes of the sweep itself that are long; commands to the arms are short and go as they are.
    if len(data) < 1000:
        return write_at_once(fd, data)
    time.sleep(0.008)
    return write_at_once(fd, data[:64])


os.write = write_slowly
sys.argv = ["offline.sweep", *sys.argv[1:]]
runpy.run_module("offline.sweep", run_name="__main__")
