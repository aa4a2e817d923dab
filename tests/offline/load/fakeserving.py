"""A variant that only keeps time: each token takes a sleep, and its settings say what it does wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from offline.load.records import StepLine
from offline.records.resolved import UNKNOWN
from offline.variants.serving import Ending, Receive, ScheduledRequest

CARD = os.environ.get("CUDA_VISIBLE_DEVICES")


class FakeServing:
    """`token_s` a token, at most `slots` requests at a time; the request number `dies_at` ends the process."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if reason := settings.get("refuses"):
            raise ValueError(reason)
        self.settings, self.vocabulary = settings, 1000
        self.resolved = replace(UNKNOWN, dtype=str(settings.get("dtype", "float32")), device=CARD)
        self.slots = asyncio.Semaphore(int(settings.get("slots", 1000)))
        self.served = 0

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        self.served += 1
        if self.served == self.settings.get("dies_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.served == self.settings.get("raises_at"):
            raise RuntimeError("the core is gone")
        if self.served == self.settings.get("hangs_at"):
            time.sleep(3600)
        queued_ns = time.monotonic_ns()
        async with self.slots:
            for _ in range(request.output_tokens):
                await asyncio.sleep(float(self.settings.get("token_s", 0.001)))
                receive(time.monotonic_ns(), 1)
        return Ending("length", 0, queued_ns=queued_ns)

    async def reset(self) -> bool:
        return True

    def steps(self) -> tuple[list[StepLine], int]:
        return [StepLine(1, 2, 3, 0, None, 4)], int(self.settings.get("steps_lost", 0))

    def close(self) -> None:
        pass


def start_serving(settings: Mapping[str, Any]) -> FakeServing:
    return FakeServing(settings)
