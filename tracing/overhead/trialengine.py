"""The process of one overhead arm: one vLLM engine that runs batches on demand; commands and answers are JSON lines.

Requests are added and the engine stepped from here, so that every arm, in one process or in three, is driven alike and
each request's tokens are seen as they come.
"""

from __future__ import annotations

import gc
import os
import random
import time
from dataclasses import asdict
from statistics import median

from probes.processes.dialogue import Message, answer_commands
from tracing.overhead.entry import WatchedTrial

FIRST_TOKEN = 100  # prompts are of ordinary tokens: no marks of a beginning or an end
LAST_TOKEN = 20_000


class TrialEngine:
    """An engine of these `EngineArgs`."""

    def __init__(self, settings: Message) -> None:
        from vllm import SamplingParams
        from vllm.engine.arg_utils import EngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.llm_engine import LLMEngine

        self._sampling, self._kind = SamplingParams, RequestOutputKind.DELTA
        self.engine = LLMEngine.from_engine_args(EngineArgs(**settings))

    def trial(
        self, batch_size: int, input_len: int, output_len: int, seed: int, profiled: bool = False
    ) -> WatchedTrial:
        """One batch, from the first request's call to the last token."""
        draw = random.Random(seed)
        prompts = [[draw.randrange(FIRST_TOKEN, LAST_TOKEN) for _ in range(input_len)] for _ in range(batch_size)]
        params = self._sampling(temperature=0, max_tokens=output_len, ignore_eos=True, output_kind=self._kind)
        gc.collect()
        if profiled:
            self.engine.start_profile()
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        counts = dict.fromkeys(map(str, range(batch_size)), 0)
        start = time.monotonic_ns()
        for number, prompt in enumerate(prompts):
            self.engine.add_request(str(number), {"prompt_token_ids": prompt}, params)
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                now, name = time.monotonic_ns(), output.request_id
                first.setdefault(name, now)
                last[name] = now
                counts[name] += len(output.outputs[0].token_ids)
        end = time.monotonic_ns()
        if profiled:
            self.engine.stop_profile()
        if set(counts.values()) != {output_len}:
            raise RuntimeError(f"asked for {output_len} tokens a request, generated {sorted(set(counts.values()))}")
        return WatchedTrial(
            start,
            end,
            tok_s=batch_size * output_len / (end - start) * 1e9,
            ttft_s=median(time_ns - start for time_ns in first.values()) / 1e9,
            tpot_s=median((last[name] - first[name]) / (output_len - 1) for name in first) / 1e9,
        )


class OverheadServer:
    """Answers the ledger's commands: the engine's arguments first, then any number of trials."""

    engine: TrialEngine | None = None

    def answer(self, command: Message) -> Message:
        """Start the engine, or run a trial."""
        if self.engine is None:
            self.engine = TrialEngine(command)
            return {"pid": os.getpid()}
        return asdict(self.engine.trial(**command))


def main() -> None:
    """Serve the ledger, which names two inherited file descriptors in `sys.argv`."""
    server = OverheadServer()
    answer_commands(server.answer)
    if server.engine is not None:
        server.engine.engine.engine_core.shutdown()
