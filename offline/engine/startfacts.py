"""What every engine start tells of itself, whichever command drives the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from offline.engine.memory import process_memory
from probes.processes.dialogue import Message
from tracing.events.enginephase import read_phases
from tracing.events.steplog import HookProof, StepLog


def start_facts(steps: StepLog, proof: Sequence[HookProof]) -> Message:
    """The start-up phases, the memory of the processes, and whether the step log is in a core, by its `proof`."""
    return {
        "phases": [asdict(phase) for phase in read_phases(steps.folder)],
        "memory": [asdict(process) for process in process_memory()],
        "step_log": any(process.has_steps for process in proof),
    }
