"""Two engines for one request: one computes its prompt, the other takes the keys and values over and generates.

They go through a folder, by vLLM's example connector, which every platform has: it shows how the time to first token
splits, not how fast a connector for production is.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from enginescope_plugin import STEP_LOG
from offline.load.records import FINISHED, StepLine
from offline.spec.settings import EngineSettings
from offline.variants.serving import Ending, Receive, ScheduledRequest
from offline.variants.vllmserving import VllmServing

CONNECTOR = "ExampleConnector"
FOLDER = "shared_storage_path"  # the connector's own name for it


class SplitServing:
    """Two `AsyncLLM` of the same settings in one process, each with a core of its own."""

    def __init__(self, settings: EngineSettings) -> None:
        self.store = Path(os.environ[STEP_LOG]) / "kv"  # goes with this process, whatever ends it
        self.store.mkdir()
        link = {"kv_connector": CONNECTOR, "kv_role": "kv_both", "kv_connector_extra_config": {FOLDER: str(self.store)}}
        both = {**settings, "kv_transfer_config": link}
        self.prefill, self.decode = VllmServing(both), VllmServing(both)
        self.resolved, self.vocabulary = self.decode.resolved, self.decode.vocabulary
        self.start_facts = self.decode.start_facts

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Have the one compute the prompt, with a token that is thrown away, and the other generate all tokens."""
        first = await self.prefill.submit(replace(request, output_tokens=1), lambda *_: None)
        if first.finish not in FINISHED:
            return first
        prefilled_ns = time.monotonic_ns()
        ending = await self.decode.submit(request, receive)
        return replace(ending, queued_ns=first.queued_ns, started_ns=first.started_ns, prefilled_ns=prefilled_ns)

    async def reset(self) -> bool:
        """Forget all keys and values, in both engines and between them."""
        for folder in self.store.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        return await self.prefill.reset() and await self.decode.reset()

    def steps(self) -> tuple[list[StepLine], int]:
        """None: steps of two engines are no one batch."""
        return [], 0

    def close(self) -> None:
        """Shut both down."""
        self.prefill.close()
        self.decode.close()


def start_serving(settings: EngineSettings) -> SplitServing:
    """Start both engines."""
    return SplitServing(settings)
