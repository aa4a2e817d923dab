"""What came of starting a server and asking it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from probes.memory.account import Memory
from probes.serve.checks import Check
from probes.serve.command import Command
from probes.serve.faults import Fault
from probes.serve.process import Startup


@dataclass
class Session:
    """What came of it: `fault` where the server did not start or did not live through the checks."""

    command: Command
    startup: Startup
    log: Path
    checks: list[Check] = field(default_factory=list)
    memory: Memory | None = None
    fault: Fault | None = None
    kept_pid: int | None = None

    @property
    def passed(self) -> bool:
        """Whether there is a server and no check failed."""
        return self.fault is None and bool(self.checks) and not any(each.failed for each in self.checks)
