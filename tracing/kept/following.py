"""vLLM's own profiler over the steps that follow a trigger, kept with what lies around it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from probes.errors import EnginescopeError
from tracing.attach.liveprofile import LiveProfile


class FollowingProfile:
    """One profile after the other, all like the one given. What a server refuses is said, and ends no watch."""

    def __init__(self, like: LiveProfile) -> None:
        self._like = like
        self._stack = ExitStack()
        self._profile: LiveProfile | None = None
        self._enough: Callable[[], bool] = lambda: True
        self._ended_ns = 0  # when the last one had come to its end; ns of CLOCK_MONOTONIC

    def start(self) -> None:
        """Let it run from now on."""
        profile = self._like.renewed()
        try:
            self._enough = self._stack.enter_context(profile.running())
        except EnginescopeError as error:
            print(f"no profile: {error}", file=sys.stderr, flush=True)
        else:
            self._profile = profile

    def is_over(self) -> bool:
        """Whether all its steps were seen, or none runs."""
        return self._profile is None or self._enough()

    def ran_since(self, begin_ns: int) -> bool:
        """Whether what began then ran beside a profile, whose start and end hold an engine up for long."""
        return self._profile is not None or begin_ns < self._ended_ns

    def collect(self, folder: Path) -> list[str]:
        """Stop it where it still runs, and put its traces into a trace folder; what is missing, a line each."""
        profile, self._profile = self._profile, None
        if profile is None:
            return []
        try:
            self._stack.close()
        except EnginescopeError as error:
            return [f"the profiler was not stopped: {error}"]
        finally:
            self._ended_ns = time.monotonic_ns()
        return profile.collect(folder)
