"""vLLM's `AsyncLLM` as a variant; the adapter to it, imported in a variant's process only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from enginescope_plugin import STEP_LOG
from offline.engine.adapter import resolved_of
from offline.engine.startfacts import start_facts
from offline.load.records import StepLine
from offline.variants.experttokens import ExpertTokens
from offline.variants.serving import Ending, Receive, ScheduledRequest
from probes.processes.dialogue import Message
from tracing.events.step import STEP, Step
from tracing.events.steplog import StepLog

NS = 1_000_000_000


class VllmServing:
    """One `AsyncLLM`, driven with token ids and without detokenization; log stats are on, for each request's stamps."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings, disable_log_stats=False))
        self.resolved = resolved_of(self.engine.vllm_config)
        self.vocabulary = int(self.engine.model_config.get_vocab_size())
        self.log = StepLog(Path(os.environ[STEP_LOG]))
        self._mark = self.log.mark()
        self._served = 0
        self._experts = ExpertTokens(self.engine.model_config.get_num_experts())

    def start_facts(self) -> Message:
        """What the step log says of the start, and the memory of the processes."""
        return start_facts(self.log, self.log.proof())

    async def submit(self, request: ScheduledRequest, receive: Receive) -> Ending:
        """Generate exactly `output_tokens` tokens; the stamps of the ending are the core's."""
        self._served += 1
        parameters = SamplingParams(
            **{"temperature": 0.0, **request.sampling},
            max_tokens=request.output_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        prompt = {"prompt_token_ids": list(request.prompt_token_ids)}
        output: Any = None
        try:
            async for output in self.engine.generate(prompt, parameters, f"{request.id}-{self._served}"):
                if tokens := len(output.outputs[0].token_ids):
                    receive(time.monotonic_ns(), tokens)
        except (VLLMClientError, ValueError) as error:
            return Ending("failed", error=f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
        self._experts.add(getattr(output.outputs[0], "routed_experts", None))
        return _ending(output)

    async def reset(self) -> bool:
        """Forget all cached prefixes."""
        return bool(await self.engine.reset_prefix_cache())

    def steps(self) -> tuple[list[StepLine], int]:
        """What the core's step log has since the last call, and how many records it overwrote before this look."""
        mark, (steps, lost) = self.log.mark(), self.log.since(self._mark)
        self._mark = mark
        blocks = self.resolved.kv_blocks
        return [step_line(step, blocks) for step in steps if step.kind == STEP], lost

    def expert_tokens(self) -> list[list[int]]:
        """Tokens that each expert got since the last call, by layer: with `enable_return_routed_experts` only."""
        return self._experts.take()

    def close(self) -> None:
        """Shut the engine's processes down and wait for them."""
        with contextlib.suppress(Exception):
            self.engine.shutdown()


def step_line(step: Step, blocks: int | None) -> StepLine:
    """A step of the log; `blocks` are the engine's KV blocks, of which one is never used."""
    return StepLine(
        start_ns=step.start_ns,
        end_ns=step.end_ns,
        running=step.prefill_requests + step.decode_requests,
        waiting=step.waiting,
        kv_use=step.kv_used_blocks / (blocks - 1) if blocks and blocks > 1 else None,
        tokens=step.prefill_tokens + step.decode_tokens,
        preempted=step.preempted,
    )


def _ending(output: Any) -> Ending:
    stats, finish = output.metrics, output.outputs[0].finish_reason
    return Ending(
        finish="aborted" if finish == "abort" else finish,
        cached_tokens=output.num_cached_tokens,
        queued_ns=_ns(stats.queued_ts) if stats else None,
        preemptions=stats.num_preemptions if stats and hasattr(stats, "num_preemptions") else None,
        started_ns=_ns(stats.scheduled_ts) if stats else None,
    )


def _ns(seconds: float) -> int | None:
    """A stamp in ns; vLLM writes 0 for one that it does not have."""
    return round(seconds * NS) or None


def start_serving(settings: Mapping[str, Any]) -> VllmServing:
    """Start the engine."""
    return VllmServing(settings)
