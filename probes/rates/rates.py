"""How fast a machine moves bytes and multiplies matrices: the two rates that set a floor to every step of an engine."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass

from probes.jsonform import read_record
from probes.programs import OWN_PYTHON

COMMAND = (*OWN_PYTHON, "-m", "probes.machine", "--rates", "--json")
LIMIT_S = 120.0


@dataclass(frozen=True)
class Rates:
    """Measured rates of one device, each the best of some tries: what the hardware can do, not what it does on average.

    `matrix_flop_s` is by the number format of the operands; a multiplication and an addition are two operations.
    `threads` is None where the device is no CPU. `measured` is local time with its zone.
    """

    device: str
    threads: int | None
    memory_bytes_s: float
    matrix_flop_s: dict[str, float]
    measured: str

    def as_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)

    def describe(self) -> str:
        """The rates as lines."""
        threads = f", {self.threads} {'thread' if self.threads == 1 else 'threads'}" if self.threads else ""
        lines = [f"device            {self.device}{threads}", f"memory            {self.memory_bytes_s / 1e9:.1f} GB/s"]
        lines += [f"matrix {name:<10} {rate / 1e9:,.1f} GFLOP/s" for name, rate in self.matrix_flop_s.items()]
        return "\n".join(lines)


def ask_rates() -> Rates | None:
    """The rates, measured in a process of its own, which alone imports torch; None where that fails."""
    try:
        process = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        return read_record(Rates, json.loads(process.stdout))
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
