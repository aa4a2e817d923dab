"""The process of one arm: it starts one engine and serves trials to the sweep, one command a line.

It runs in a process group of its own beside a keeper, which kills the whole group the moment the sweep is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import psutil

from enginescope_plugin import STEP_LOG
from offline.engine.adapter import Engine
from offline.engine.reference import time_kernel
from offline.spec.grid import Cell
from offline.spec.prompts import workload
from probes.processgroup import end_group, members
from tracing.events.step import STEP_SITES
from tracing.events.steplog import StepLog


def start(settings: dict[str, Any], steps: StepLog) -> tuple[Engine, dict[str, Any]]:
    """Start the engine; with it come its resolved settings, start-up phases, memory and the proof of the step log."""
    engine = Engine(settings)
    sites = {".".join(site) for site in STEP_SITES}
    proof = steps.proof()
    return engine, {
        "resolved": engine.resolved(),
        "vocabulary": engine.vocabulary,
        "step_log": any(sites <= set(process["hooked"]) for process in proof),
        "unhooked": sorted({name for process in proof for name in process["missing"]}),
        "import_ns": [engine.import_start_ns, engine.start_ns],
        "start_ns": [engine.start_ns, engine.ready_ns],
        "phases": steps.start_phases(),
        "plugin_ns": {str(process["pid"]): process["plugin_ns"] for process in proof},
        "memory": memory(),
    }


def memory() -> list[dict[str, Any]]:
    """Resident bytes of every process of this arm's group, by vLLM's own process titles."""
    found = []
    for process in members(os.getpgrp()):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()[:3]) or process.name()
            found.append({"title": _role(title), "pid": process.pid, "rss_bytes": process.memory_info().rss})
    return sorted(found, key=lambda entry: -entry["rss_bytes"])


def _role(title: str) -> str:
    if "offline.engine.arm" in title:
        return "front end"
    return title.split()[0] if title.startswith("VLLM::") else "helper"


def prepare(engine: Engine, cell: Cell, seed: int) -> list[list[int]]:
    """Reset the prefix cache, and prime it for a warm cell; the prompts of the batch."""
    work = workload(cell, seed, engine.vocabulary)
    if not engine.reset_prefix_cache():
        raise RuntimeError("the engine did not reset its prefix cache: blocks are still held")
    if work.primer is not None:
        engine.generate([work.primer], 1)
    return work.prompts


def trial(engine: Engine, steps: StepLog, cell: Cell, seed: int) -> dict[str, Any]:
    """One timed repeat: run the batch, and read what the core wrote about it."""
    prompts = prepare(engine, cell, seed)
    before, mark = engine.counters(), steps.mark()
    reference = [time_kernel()]
    result = engine.generate(prompts, cell.output_len)
    reference.append(time_kernel())
    after, (log, lost) = engine.counters(), steps.since(mark)
    return result | {
        "reference_ns": reference,
        # Not before the timer: where the core lives in this process, our own collection before it is in the log too.
        "steps": [list(vars(step).values()) for step in log if step.start_ns >= result["start_ns"]],
        "steps_lost": lost,
        **{name: after[name] - before[name] for name in after},
    }


def serve(commands: TextIO, replies: TextIO, steps: StepLog) -> None:
    """Answer commands until `stop` or the end of the file; an error is an answer too, and ends the arm."""
    engine: Engine | None = None
    for line in commands:
        command = json.loads(line)
        try:
            if command["do"] == "start":
                engine, answer = start(command["settings"], steps)
            elif command["do"] == "trial" and engine is not None:
                answer = trial(engine, steps, Cell(**command["cell"]), command["seed"])
            elif command["do"] == "warm_up" and engine is not None:
                cell = Cell(**command["cell"])
                engine.generate(prepare(engine, cell, command["seed"]), cell.output_len)
                answer = {}
            else:
                break
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()
        if "error" in answer:
            break
    if engine is not None:
        engine.close()


def keep(child: int) -> int:
    """Wait for the arm and return its exit code; when the sweep goes away (stdin ends) kill the whole group at once."""

    orphaned = threading.Event()

    def watch() -> None:
        os.read(0, 1)
        orphaned.set()
        end_group(os.getpgrp())
        shutil.rmtree(os.environ[STEP_LOG], ignore_errors=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the arm decides; the keeper goes last
    _, status = os.waitpid(child, 0)
    if orphaned.is_set():
        watcher.join()
        return 1
    return os.waitstatus_to_exitcode(status) & 0xFF


def main() -> None:
    """`python -m offline.engine.arm COMMANDS REPLIES`: two inherited file descriptors; started by the sweep only."""
    if len(sys.argv) != 3 or not all(word.isdigit() for word in sys.argv[1:]):
        print(f"{__doc__}\nexample: started by `python -m offline.sweep`, never by hand")
        sys.exit(0 if "--help" in sys.argv else 2)
    child = os.fork()
    if child:
        os._exit(keep(child))
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)  # the lifeline belongs to the keeper alone
    with os.fdopen(int(sys.argv[1])) as commands, os.fdopen(int(sys.argv[2]), "w") as replies:
        serve(commands, replies, StepLog(Path(os.environ[STEP_LOG])))


if __name__ == "__main__":
    main()
