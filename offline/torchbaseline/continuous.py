"""The adapter to transformers' own continuous batching, behind the interface of a variant; greedy only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from transformers import GenerationConfig

from offline.load.records import StepLine
from offline.torchbaseline.batch import BatchLimits
from offline.torchbaseline.model import TorchModel
from offline.variants.serving import Ending, Receive, ScheduledRequest
from probes.errors import EnginescopeError

NO_TOKEN = -1  # as the end of a sequence: lengths are fixed
PAGE_TOKENS = 32


class ContinuousServing:
    """Requests of fixed lengths through transformers' `ContinuousBatchingManager`.

    Its steps are not known. Memory: pages of keys and values for `limits.most_bytes`.
    """

    def __init__(self, model: TorchModel, limits: BatchLimits) -> None:
        self.model = model
        self.resolved, self.vocabulary = model.resolved, model.vocabulary
        self._manager = start_manager(model, limits)

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Serve one request; refused where it is to be sampled at random."""
        queued_ns = time.monotonic_ns()
        if request.sampling.get("temperature", 0.0) > 0:
            error = "transformers' continuous batching only decodes greedily here: temperature must be 0"
            return Ending("failed", error=error, queued_ns=queued_ns)
        ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        name = str(request.id)
        self._manager.register_result_handler(name, on_output(receive, ending, queued_ns))
        self._manager.add_request(
            list(request.prompt_token_ids),
            request_id=name,
            max_new_tokens=request.output_tokens,
            streaming=True,
            eos_token_id=NO_TOKEN,
        )
        try:
            return await ending
        except asyncio.CancelledError:
            self._manager.cancel_request(name)
            raise

    async def reset(self) -> bool:
        """True: prefixes are not shared between requests here."""
        return True

    def steps(self) -> tuple[list[StepLine], int]:
        """None: they are not known."""
        return [], 0

    def close(self) -> None:
        """End its thread, and the requests with it."""
        self._manager.stop(block=True)


def start_manager(model: TorchModel, limits: BatchLimits) -> Any:
    """transformers' manager, started; refused by name where this version has none or it does not run here."""
    try:
        from transformers import ContinuousBatchingConfig
    except ImportError:
        raise EnginescopeError("this version of transformers has no continuous batching: use static batches") from None
    greedy = GenerationConfig(do_sample=False, eos_token_id=NO_TOKEN)
    try:
        settings = ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,  # 5.17 calls it otherwise
            num_blocks=max(1, limits.most_bytes // (model.memory.kv_bytes * PAGE_TOKENS)),
            max_batch_tokens=512,
            max_requests_per_batch=limits.most_rows,
            allow_block_sharing=False,
        )
        manager = model.language_model.init_continuous_batching(greedy, settings)
        manager.start()
    except Exception as error:  # whatever it raises: it cannot be used, and why is in its words
        raise EnginescopeError(f"transformers' continuous batching does not run here: {error}") from error
    return manager


def on_output(receive: Receive, ending: asyncio.Future[Ending], queued_ns: int) -> Callable[[Any], None]:
    """What the manager calls, in the event loop, with all tokens of a request so far."""
    received = 0

    def call(output: Any) -> None:
        nonlocal received
        if ending.done():
            return
        tokens = len(output.generated_tokens)
        if tokens > received:
            receive(time.monotonic_ns(), tokens - received)
            received = tokens
        if output.is_finished():
            finish = "failed" if output.error else "length"
            ending.set_result(Ending(finish, 0, output.error, queued_ns))

    return call
