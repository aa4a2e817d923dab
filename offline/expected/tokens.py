"""How many prompt tokens the engine will find in its prefix cache, computed from token ids and configuration alone.

It plays vLLM 0.32's scheduler step by step (`schedule` and `update_from_output` in `v1/core/sched/scheduler.py`,
`KVCacheManager.allocate_slots` in `v1/core/kv_cache_manager.py`) for the plain case: one group of full attention, FCFS,
no speculative decoding, no KV connector, no async or data-parallel scheduling, no adaptive long-prefill threshold,
fixed output lengths (`ignore_eos`).

Two things it cannot know, and what it assumes:

- **When requests arrive.** `LLM.generate` sends them one by one while the core already steps; here all of a batch wait
  before the first step. The count does not depend on that if prefills are taken up whole and in order and nothing is
  evicted: FCFS, `long_prefill_token_threshold` 0, and room for all blocks used since the last reset. For then a request
  is admitted only with tokens left in the step's budget, which are left only if every earlier prompt has been scheduled
  to its end; so it meets exactly the blocks of all earlier prompts, whatever steps they took. `Expectation.timing_free`
  says whether this holds. Otherwise queue the batch before the engine steps (`LLM.sleep(level=0)`, `LLM.enqueue`,
  `LLM.wake_up(tags=["scheduling"])`), and the count is exact again. Step counts always depend on it. By the same
  argument (not run) timing-free counts hold under async scheduling, which only keeps finished requests a step longer.
- **What is generated.** A block with generated tokens is taken to match nothing but its own request, resumed after a
  preemption. Greedy requests with equal prompts generate equal tokens: those could match each other when resumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from offline.expected.blockpool import BlockPool, block_keys
from probes.errors import EnginescopeError


@dataclass(frozen=True)
class CacheConfig:
    """What the engine resolved, under vLLM's names; sizes in tokens, `num_blocks` in blocks of `block_size` tokens.

    Where they are set: `max_num_batched_tokens` is the smaller of it and `max_num_scheduled_tokens` (which vLLM lowers
    for speculative decoding only), `max_num_seqs` the smaller of it and `max_num_active_seqs`.
    """

    block_size: int
    num_blocks: int
    enable_prefix_caching: bool
    max_num_batched_tokens: int
    max_num_seqs: int
    max_model_len: int
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    reserve_full_isl: bool = True
    watermark: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.block_size, self.num_blocks, self.max_num_batched_tokens, self.max_num_seqs, self.max_model_len)
        if min(sizes) < 1 or self.long_prefill_token_threshold < 0 or not 0 <= self.watermark < 1:
            raise EnginescopeError(f"no engine resolves to this: {self}")


@dataclass(frozen=True)
class Expectation:
    """What one batch should meet; with `timing_free` false, only if it was queued before the engine's first step."""

    cached_tokens: tuple[int, ...]
    """Prompt tokens found by each request at its first admission: what `vllm:prefix_cache_hits` sums up."""
    preemptions: int
    """How often a request lost its blocks to another (`vllm:num_preemptions`)."""
    steps: int
    """Engine steps that computed at least one token."""
    timing_free: bool
    """Whether `cached_tokens` is the same for every way in which the batch can arrive."""

    @property
    def total(self) -> int:
        """Prompt tokens found by the whole batch."""
        return sum(self.cached_tokens)


class Request:
    """One request on its way; `length` counts the prompt and what has been generated, `end` is where it stops."""

    __slots__ = ("blocks", "cached", "computed", "end", "filled", "keys", "length")

    def __init__(self, prompt: Sequence[int], max_tokens: int, config: CacheConfig) -> None:
        if not 1 <= len(prompt) < config.max_model_len or max_tokens < 1:
            raise EnginescopeError(
                f"a request of {len(prompt)} prompt and {max_tokens} output tokens is refused by an engine with "
                f"max_model_len={config.max_model_len}: it takes at least one of each, and both within that length"
            )
        self.length = len(prompt)
        self.end = min(len(prompt) + max_tokens, config.max_model_len)
        self.keys = block_keys(prompt, config.block_size) if config.enable_prefix_caching else []
        self.blocks: list[int] = []
        self.computed = 0  # tokens in the KV cache, found or computed
        self.filled = 0  # leading blocks that are full and can be found
        self.cached: int | None = None


class Batch:
    """The queues of one batch: `step` is one engine iteration, first for the running requests, then for the waiting."""

    def __init__(self, config: CacheConfig, pool: BlockPool, requests: Sequence[Request]) -> None:
        self.config = config
        self.pool = pool
        self.waiting = deque(requests)
        self.running: list[Request] = []
        self.preemptions = 0

    def step(self) -> int:
        """Schedule, compute, and finish what reached its end; the number of tokens computed."""
        allowed = budget = self.config.max_num_batched_tokens
        # The threshold keeps a long prefill from starving others; with no others it does not apply.
        if self.config.long_prefill_token_threshold and len(self.running) + len(self.waiting) > 1:
            allowed = self.config.long_prefill_token_threshold
        preemptions = self.preemptions
        left = self._continue_running(budget, allowed)
        if self.preemptions == preemptions:
            left = self._admit_waiting(left, allowed)
        self._generate()
        return budget - left

    def _continue_running(self, budget: int, allowed: int) -> int:
        index = 0
        while index < len(self.running) and budget:
            request = self.running[index]
            count = min(request.length - request.computed, allowed, budget)
            while not self._compute(request, count):
                victim = self.running.pop()
                self._preempt(victim)
                if victim is request:
                    return budget
            budget -= count
            index += 1
        return budget

    def _admit_waiting(self, budget: int, allowed: int) -> int:
        size = self.config.block_size
        while self.waiting and budget and len(self.running) < self.config.max_num_seqs:
            request = self.waiting[0]
            # The last token is computed in any case: its logits are needed.
            cached = self.pool.find(request.keys[: (request.length - 1) // size])
            count = min(request.length - len(cached) * size, allowed)
            if count > budget and not self.config.enable_chunked_prefill:
                break
            count = min(count, budget)
            if not self._fits(request, cached, count):
                break
            self.running.append(self.waiting.popleft())
            self._resume(request, cached)
            self._compute(request, count)
            budget -= count
        return budget

    def _fits(self, request: Request, cached: list[int], count: int) -> bool:
        """Whether the pool can hold the whole request (or its first chunk only) and keep its watermark."""
        size = self.config.block_size
        reach = request.length if self.config.reserve_full_isl else len(cached) * size + count
        need = -(-reach // size) - len(cached) + self.pool.num_idle(cached)
        if self.running:
            need += int(self.config.watermark * self.config.num_blocks)
        return need <= self.pool.num_free

    def _resume(self, request: Request, cached: list[int]) -> None:
        self.pool.share(cached)
        request.blocks = cached
        request.filled = len(cached)
        request.computed = len(cached) * self.config.block_size
        if request.cached is None:
            request.cached = request.computed

    def _compute(self, request: Request, count: int) -> bool:
        """Give `count` more tokens a slot; False, and nothing done, where the pool has too few blocks."""
        size = self.config.block_size
        computed = request.computed + count
        need = -(-computed // size) - len(request.blocks)
        if need > 0:
            if need > self.pool.num_free:
                return False
            request.blocks += self.pool.take(need)
        request.computed = computed
        if computed // size > request.filled and self.config.enable_prefix_caching:
            self._fill(request, computed // size)
        return True

    def _fill(self, request: Request, filled: int) -> None:
        """Make blocks findable as soon as they are scheduled, hence for later requests of the same step."""
        while len(request.keys) < filled:
            request.keys.append(object())  # holds generated tokens, which are unknown: equal to nothing else
        for index in range(request.filled, filled):
            self.pool.fill(request.blocks[index], request.keys[index])
        request.filled = filled

    def _preempt(self, request: Request) -> None:
        self.pool.release(request.blocks)
        request.blocks = []
        request.filled = request.computed = 0
        self.waiting.appendleft(request)
        self.preemptions += 1

    def _generate(self) -> None:
        """Append a token to every request that is computed to its end; release those that are then complete."""
        finished = False
        for request in self.running:
            if request.computed == request.length:
                request.length += 1
                if request.length == request.end:
                    self.pool.release(request.blocks)
                    finished = True
        if finished:
            self.running = [request for request in self.running if request.length < request.end]


class PrefixCache:
    """One engine's prefix cache, kept from batch to batch: run the batches that the engine runs, in the same order."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.pool = BlockPool(config.num_blocks)
        self._used = 0  # blocks that were needed since the last reset, none of them shared: an upper bound

    def run(self, prompts: Sequence[Sequence[int]], max_tokens: int | Sequence[int]) -> Expectation:
        """What a batch of token-id prompts meets that generates `max_tokens` tokens each (or one number a prompt)."""
        lengths = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else max_tokens
        if len(lengths) != len(prompts):
            raise EnginescopeError(f"{len(prompts)} prompts, but {len(lengths)} output lengths")
        requests = [Request(prompt, length, self.config) for prompt, length in zip(prompts, lengths, strict=True)]
        batch = Batch(self.config, self.pool, requests)
        steps = 0
        while batch.running or batch.waiting:
            if not batch.step():
                raise EnginescopeError(self._stuck(batch.waiting[0]))
            steps += 1
        timing_free = self._timing_free(requests)
        return Expectation(tuple(request.cached or 0 for request in requests), batch.preemptions, steps, timing_free)

    def reset(self) -> None:
        """Forget all prompts, as `LLM.reset_prefix_cache()` does between batches."""
        self.pool.forget()
        self._used = 0

    def _timing_free(self, requests: Sequence[Request]) -> bool:
        if not self.config.enable_prefix_caching:
            return True
        self._used += sum(-(-(request.end - 1) // self.config.block_size) for request in requests)
        return not self.config.long_prefill_token_threshold and self._used < self.config.num_blocks

    def _stuck(self, request: Request) -> str:
        return (
            f"a request of {request.length} tokens never runs, the engine would wait for ever: it has "
            f"{self.config.num_blocks - 1} blocks of {self.config.block_size} tokens "
            f"and computes {self.config.max_num_batched_tokens} tokens a step; raise either, or shorten the request"
        )
