"""An engine that runs already and serves others: it is delayed only with leave."""

from __future__ import annotations

from probes.errors import EnginescopeError, usage_error
from tracing.attach.engine import StandingEngine, pid_of, standing_engine

LEAVE = "--yes-slow-it-down"


def running_engine(target: str, leave: bool) -> StandingEngine:
    """The engine of a process id or an address on this machine.

    EnginescopeError where it may not be delayed: without leave, or where it was not started with ENGINESCOPE=standby.
    """
    if not leave:
        raise usage_error(f"{target} runs already, and its clients would wait longer: {LEAVE} permits that")
    pid = pid_of(target)
    engine = standing_engine(pid)
    if engine is None or not engine.standing.standby or not engine.lives():
        raise EnginescopeError(
            f"process {pid} is not in standby: start it with ENGINESCOPE=standby in its environment, or by "
            "python -m tracing.whatif -- CMD"
        )
    return engine
