"""How many prompt tokens a prefix cache finds, shown on blocks of four tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.expected.tokens import Batch, CacheConfig, Expectation, PrefixCache, Request
from probes.errors import EnginescopeError


def ids(text: str) -> list[int]:
    """One token a letter; blanks only mark where blocks of four end."""
    return [ord(letter) for letter in text if letter != " "]


def engine(**changes: Any) -> CacheConfig:
    """Blocks of 4 tokens, 99 usable, and no other limit in sight."""
    plain: dict[str, Any] = {"block_size": 4, "num_blocks": 100, "enable_prefix_caching": True}
    plain |= {"max_num_batched_tokens": 1000, "max_num_seqs": 100, "max_model_len": 1000}
    return CacheConfig(**plain | changes)


def run(cache: PrefixCache, *prompts: str, max_tokens: int = 1) -> Expectation:
    return cache.run([ids(prompt) for prompt in prompts], max_tokens)


def cached(*prompts: str, **changes: Any) -> tuple[int, ...]:
    return run(PrefixCache(engine(**changes)), *prompts).cached_tokens


def test_only_whole_blocks_are_found() -> None:
    assert cached("AAAA BBBB 7", "AAAA BBBB 8") == (0, 8)
    assert cached("AAAA BBB", "AAAA BBB 9") == (0, 4)


def test_the_last_token_is_always_computed() -> None:
    assert cached("AAAA BBBB", "AAAA BBBB") == (0, 4)  # 7 of the 8 tokens may be found, and 7 is one block


def test_a_block_is_found_only_behind_the_same_blocks() -> None:
    assert cached("AAAA BBBB 7", "CCCC BBBB 7") == (0, 0)
    assert cached("AAAA BBBB CCCC 7", "AAAA CCCC BBBB 7") == (0, 4)


def test_prompts_of_one_step_share() -> None:
    outcome = run(PrefixCache(engine()), "AAAA BBBB 1", "AAAA BBBB 2", "AAAA BBBB 3")
    assert (outcome.cached_tokens, outcome.steps, outcome.total) == ((0, 8, 8), 1, 16)


def test_a_chunked_prompt_is_found_whole_by_those_behind_it() -> None:
    outcome = run(PrefixCache(engine(max_num_batched_tokens=6)), "AAAA BBBB CCCC 1", "AAAA BBBB CCCC 2")
    # Steps of 6, 6 and 1 tokens for the first prompt; in the third, the second one finds all but its last token.
    assert (outcome.cached_tokens, outcome.steps, outcome.timing_free) == ((0, 12), 3, True)


def test_the_long_prefill_threshold_lets_a_prompt_overtake() -> None:
    outcome = run(PrefixCache(engine(long_prefill_token_threshold=4)), "AAAA BBBB 1", "AAAA BBBB 2")
    assert outcome.cached_tokens == (0, 4)  # only the first block was scheduled before it
    assert not outcome.timing_free


def test_batches_follow_one_another_until_a_reset() -> None:
    cache = PrefixCache(engine())
    prompts = ["AAAA BBBB 1", "CCCC DDDD 2"]
    assert run(cache, *prompts).cached_tokens == (0, 0)
    assert run(cache, *prompts).cached_tokens == (8, 8)
    cache.reset()
    assert run(cache, *prompts).cached_tokens == (0, 0)


def test_generated_tokens_are_never_found_by_another_prompt() -> None:
    cache = PrefixCache(engine())
    run(cache, "AAAA BB", max_tokens=20)
    assert run(cache, "AAAA BBBB CCCC DDDD").cached_tokens == (4,)


def test_without_prefix_caching_nothing_is_found() -> None:
    assert cached("AAAA BBBB CCCC", "AAAA BBBB CCCC", enable_prefix_caching=False) == (0, 0)


def test_the_least_recently_used_block_goes_first_and_tails_before_heads() -> None:
    cache = PrefixCache(engine(num_blocks=6))  # five usable
    run(cache, "AAAA BBBB 1")  # leaves A, B and an empty block
    run(cache, "CCCC DDDD 2")  # takes the empty block and the two never used
    outcome = run(cache, "DDDD DDDD 3")  # takes the empty one, then B, then A
    assert (outcome.cached_tokens, outcome.timing_free) == ((0,), False)
    assert run(cache, "CCCC DDDD 4").cached_tokens == (8,)
    assert run(cache, "AAAA BBBB 5").cached_tokens == (0,)


def test_use_makes_a_block_young_again() -> None:
    cache = PrefixCache(engine(num_blocks=6))
    for prompt in ("AAAA 1", "BBBB 1", "CCCC 1", "AAAA 2", "DDDD DDDD DDDD 1"):
        run(cache, prompt)
    # Of the five blocks D took the two empty ones and those of B and C; A was used after them.
    assert [run(cache, prompt).total for prompt in ("AAAA 9", "BBBB 9", "CCCC 9")] == [4, 0, 0]


def test_of_two_equal_blocks_one_may_be_evicted() -> None:
    cache = PrefixCache(engine(num_blocks=6))
    run(cache, "AAAA", "AAAA")  # the last token has to be computed, so each has a block of its own
    run(cache, "BBBB CCCC DDDD 1")
    assert run(cache, "AAAA 1").cached_tokens == (4,)


def test_the_last_request_loses_its_blocks_and_comes_back() -> None:
    outcome = run(PrefixCache(engine(num_blocks=6)), "AAAA 1", "BBBB 1", max_tokens=8)
    # Both need a third block at their ninth token, and there is one left. Only the first admission counts.
    assert (outcome.cached_tokens, outcome.preemptions) == ((0, 0), 1)


def test_a_request_waits_until_it_fits_whole_or_starts_with_its_first_chunk() -> None:
    # Four usable blocks: the first prompt takes two, the second needs three, and its first chunk only one.
    prompts = ["AAAA 1", "CCCC DDDD 2"]
    tight = {"num_blocks": 5, "max_num_batched_tokens": 8}
    whole = run(PrefixCache(engine(**tight)), *prompts, max_tokens=3)
    chunk = run(PrefixCache(engine(**tight, reserve_full_isl=False)), *prompts, max_tokens=3)
    assert (whole.preemptions, whole.steps, chunk.preemptions) == (0, 7, 1)


def test_without_chunked_prefill_a_prompt_waits_for_a_step_that_takes_it_whole() -> None:
    tight = {"max_num_batched_tokens": 8, "enable_chunked_prefill": False}
    assert run(PrefixCache(engine(**tight)), "AAAA 1", "BBBB 1").steps == 2
    assert run(PrefixCache(engine(**tight)), "AAAA 1", "AAAA 2").steps == 1  # four of its tokens are found


def test_the_watermark_holds_back_a_second_request() -> None:
    prompts = ["AAAA 1", "BBBB 1"]
    assert run(PrefixCache(engine(num_blocks=10)), *prompts, max_tokens=2).steps == 2
    assert run(PrefixCache(engine(num_blocks=10, watermark=0.6)), *prompts, max_tokens=2).steps == 4


def test_output_stops_at_the_longest_model_length() -> None:
    assert run(PrefixCache(engine(max_model_len=6)), "AAAA", max_tokens=99).steps == 2


def test_what_the_engine_would_refuse_or_never_run_is_an_error() -> None:
    with pytest.raises(EnginescopeError, match="max_model_len=4"):
        cached("AAAA", max_model_len=4)
    with pytest.raises(EnginescopeError, match="never runs"):
        cached("AAAA BBBB CCCC", num_blocks=3)
    with pytest.raises(EnginescopeError, match="1 prompts, but 2 output lengths"):
        PrefixCache(engine()).run([ids("AAAA")], [1, 2])
    with pytest.raises(EnginescopeError, match="no engine resolves"):
        engine(block_size=0)


def test_a_batch_of_the_size_of_a_sweeps() -> None:
    rng = random.Random(1)
    head = rng.choices(range(50_000), k=512)
    prompts = [head + rng.choices(range(50_000), k=512) for _ in range(64)]
    cache = PrefixCache(engine(block_size=16, num_blocks=8000, max_num_batched_tokens=8192, max_model_len=2048))
    assert cache.run(prompts, max_tokens=64).total == 63 * 512


# Two tokens and blocks of 1-3 of them: most prompts share something.
PROMPTS = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=6)
BATCHES = st.lists(st.tuples(PROMPTS, st.integers(1, 6)), min_size=1, max_size=4)


@st.composite
def engines(draw: st.DrawFn, least_blocks: int = 19, most_blocks: int = 40) -> CacheConfig:
    """Engines that can hold the longest request (12 + 6 tokens) alone, most of them not much more."""
    size = draw(st.integers(1, 3))
    return engine(
        block_size=size,
        num_blocks=draw(st.integers(least_blocks // size + 2, most_blocks)),
        max_num_batched_tokens=draw(st.integers(1, 30)),
        max_num_seqs=draw(st.integers(1, 6)),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 3])),
        reserve_full_isl=draw(st.booleans()),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.2])),
        enable_prefix_caching=draw(st.sampled_from([True, True, True, False])),
    )


@given(engines(), BATCHES)
def test_what_is_found_is_whole_blocks_short_of_the_last_token(config: CacheConfig, batches: list) -> None:
    cache = PrefixCache(config)
    for prompts, max_tokens in batches:
        outcome = cache.run(prompts, max_tokens)
        for prompt, tokens in zip(prompts, outcome.cached_tokens, strict=True):
            assert 0 <= tokens <= len(prompt) - 1 and tokens % config.block_size == 0
        assert config.enable_prefix_caching or not outcome.total


@given(engines(), BATCHES)
def test_no_step_exceeds_its_limits_and_no_block_is_lost(config: CacheConfig, batches: list) -> None:
    cache = PrefixCache(config)
    for prompts, max_tokens in batches:
        batch = Batch(config, cache.pool, [Request(prompt, max_tokens, config) for prompt in prompts])
        while batch.running or batch.waiting:
            assert 0 < batch.step() <= config.max_num_batched_tokens
            assert len(batch.running) <= config.max_num_seqs
            held = {block for request in batch.running for block in request.blocks}
            assert len(held) + cache.pool.num_free == config.num_blocks - 1
        assert cache.pool.num_free == config.num_blocks - 1


@given(engines(), PROMPTS, st.integers(1, 6))
def test_every_token_is_found_or_computed_once_unless_preempted(
    config: CacheConfig, prompts: list, max_tokens: int
) -> None:
    requests = [Request(prompt, max_tokens, config) for prompt in prompts]
    batch = Batch(config, PrefixCache(config).pool, requests)
    computed = 0
    while batch.running or batch.waiting:
        computed += batch.step()
    once = sum(request.end - 1 - (request.cached or 0) for request in requests)
    assert computed == once if not batch.preemptions else computed >= once


def longest_known_prefix(prompt: list[int], earlier: list[list[int]], size: int) -> int:
    """Brute force: the most whole blocks, short of the last token, that some earlier prompt begins with."""
    for tokens in range((len(prompt) - 1) // size * size, 0, -size):
        if any(other[:tokens] == prompt[:tokens] for other in earlier):
            return tokens
    return 0


@given(engines(least_blocks=600, most_blocks=700), BATCHES)
def test_with_room_for_all_it_is_the_longest_prefix_of_any_earlier_prompt(config: CacheConfig, batches: list) -> None:
    cache, earlier = PrefixCache(config), list[list[int]]()
    for prompts, max_tokens in batches:
        outcome = cache.run(prompts, max_tokens)
        assert outcome.preemptions == 0
        if not config.enable_prefix_caching or config.long_prefill_token_threshold:
            continue
        assert outcome.timing_free
        for prompt, tokens in zip(prompts, outcome.cached_tokens, strict=True):
            assert tokens == longest_known_prefix(prompt, earlier, config.block_size)
            earlier.append(prompt)


@given(engines(least_blocks=600, most_blocks=700), PROMPTS, st.integers(1, 6))
def test_the_same_batch_again_computes_only_last_blocks(config: CacheConfig, prompts: list, max_tokens: int) -> None:
    cache = PrefixCache(config)
    cache.run(prompts, max_tokens)
    again = cache.run(prompts, max_tokens)
    size = config.block_size if config.enable_prefix_caching else 1000
    assert again.cached_tokens == tuple((len(prompt) - 1) // size * size for prompt in prompts)
    cache.reset()
    assert cache.run(prompts, max_tokens) == PrefixCache(config).run(prompts, max_tokens)


@given(engines(), BATCHES)
def test_timing_free_counts_do_not_depend_on_how_a_batch_arrives(config: CacheConfig, batches: list) -> None:
    together, one_by_one = PrefixCache(config), PrefixCache(config)
    for prompts, max_tokens in batches:
        outcome = together.run(prompts, max_tokens)
        alone = [one_by_one.run([prompt], max_tokens).total for prompt in prompts]
        if not outcome.timing_free:
            break
        assert list(outcome.cached_tokens) == alone
