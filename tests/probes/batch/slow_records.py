"""Runs the batch with a disk that takes 100 bytes at a time, so that a kill can fall into the middle of a record."""

import os
import runpy
import sys
import time
from pathlib import Path

write_at_once = os.write


def write_slowly(fd: int, data: bytes) -> int:
    if len(data) < 100:
        return write_at_once(fd, data)
    time.sleep(0.003)
    return write_at_once(fd, data[:100])


os.write = write_slowly
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.argv = ["probes.batch", *sys.argv[1:]]
runpy.run_module("probes.batch", run_name="__main__")
