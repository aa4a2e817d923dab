"""A trace folder that is written only while it is switched on, with the recorder of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from probes.errors import EnginescopeError
from tracing import timeline
from tracing.record.switched import SwitchedTrace

# Records as an engine's process does, and has a collection of garbage, which is a span, each time that it is asked.
PROGRAM = """
import gc, sys
from enginescope_plugin import hooks_module
recorder = hooks_module("recorder")
recorder.begin(sys.argv[1], ["front end"])
for line in sys.stdin:
    gc.collect(0)
    print(line, end="", flush=True)
"""


def test_only_what_happens_while_it_is_on_is_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    with SwitchedTrace(folder, "an engine") as trace:
        command = [sys.executable, "-c", PROGRAM, *trace.environment.values()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout

            def collect(times: int) -> None:
                for _ in range(times):
                    assert process.stdin and process.stdout
                    process.stdin.write("now\n")
                    process.stdin.flush()
                    process.stdout.readline()

            collect(3)
            with trace.recording():
                collect(2)
            collect(4)
            process.stdin.close()
    assert len(timeline.read(folder).spans.query("site == 'gc'")) == 2
    said = json.loads((folder / "trace.json").read_text())
    assert (said["state"], said["command"]) == ("ended", "an engine")


def test_a_folder_that_no_process_wrote_to_is_removed(tmp_path: Path) -> None:
    with SwitchedTrace(tmp_path / "trace", "an engine"):
        pass
    assert not (tmp_path / "trace").exists()


def test_a_folder_that_cannot_be_made_is_an_error_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnginescopeError, match="cannot make the trace folder"):
        SwitchedTrace(tmp_path / "file" / "trace", "an engine")
