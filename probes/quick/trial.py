"""A model tried out: its engine started in a child process, one line generated, its memory looked at, and ended."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from probes.engineplatform import engine_platform
from probes.machine import fingerprint
from probes.memory.account import Memory, engine_memory
from probes.privacy.commandline import command_line
from probes.processes.enginegroup import group_of
from probes.programs import OWN_PYTHON
from probes.quick.generation import PROGRAM, Generation, read_generation
from probes.serve.command import ServeOptions, engine_settings, flags, on_gpu
from probes.serve.faults.diagnosis import Diagnosis
from probes.serve.hung import why_not_ready
from probes.serve.process import NotReady, ServerProcess
from probes.serve.reading import reading_notes
from probes.serve.session import print_progress, wait

# What the log of a server says last before it answers is, without a server, the generating.
LAST_PHASE = {"starts the HTTP server": "generates"}


@dataclass(frozen=True)
class QuickTrial:
    """What came of it: a generation and its memory, or why there is none. Times are seconds since the start."""

    model: str
    took_s: float | None
    phases: list[tuple[str, float]]
    generation: Generation | None
    memory: Memory | None
    diagnosis: Diagnosis | None
    log: Path

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        generation = self.generation
        return {
            "passed": generation is not None,
            "model": self.model,
            "took_s": self.took_s,
            "startup": [{"phase": name, "took_s": took_s} for name, took_s in self.phases],
            "generation": generation and asdict(generation) | {"tok_s": generation.tok_s},
            "memory": self.memory and self.memory.as_dict(),
            "fault": self.diagnosis and asdict(self.diagnosis),
            "log": str(self.log) if self.log.exists() else None,
        }


def run_trial(options: ServeOptions, tokens: int, limit_s: float) -> QuickTrial:
    """Start, generate, look at the memory, end."""
    machine = fingerprint(engine_platform())
    settings, notes = engine_settings(options, machine)
    folder = Path(tempfile.mkdtemp(prefix="enginescope-quick-"))
    log, result = folder / "engine.log", folder / "generation.json"
    words = [*OWN_PYTHON, "-c", PROGRAM, str(result), str(tokens), *flags(settings)]
    for line in (*notes, *reading_notes(options.model), f"$ LLM: {command_line(flags(settings))}", f"log: {log}"):
        print_progress(line)
    generation, memory, diagnosis = None, None, None
    with ServerProcess(words, log) as engine:
        try:
            wait(engine, result.exists, limit_s, LAST_PHASE)
            generation = read_generation(result)
            memory = engine_memory(group_of(engine.pid), None)
        except NotReady as reason:
            engine.stop()
            ended = NotReady(reason.exit_code, LAST_PHASE.get(reason.doing, reason.doing))
            diagnosis = why_not_ready(ended, log, options.port, on_gpu(machine), limit_s)
    phases = [(LAST_PHASE.get(name, name), took_s) for name, took_s in engine.startup.split()]
    if generation:
        for path in (log, result):
            path.unlink()
        folder.rmdir()
    return QuickTrial(options.model, engine.startup.ready_s, phases, generation, memory, diagnosis, log)
