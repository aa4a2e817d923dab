"""The baseline's model on plain PyTorch: padded in a batch, it says what transformers says of each prompt alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from offline.torchbaseline.batch import BatchLimits, StaticBatch
from offline.variants.serving import ScheduledRequest
from probes.checkpoint import two_layer_model
from probes.errors import EnginescopeError
from tests.needs import needs_torch, needs_transformers

if TYPE_CHECKING:
    from offline.torchbaseline.model import TorchModel

pytestmark = [needs_torch, needs_transformers, pytest.mark.slow(30)]
OUTPUT = 12
GREEDY = {"temperature": 0.0}


@pytest.fixture(scope="module")
def model() -> TorchModel:
    from offline.torchbaseline.model import TorchModel  # here: every process that collects the tests would wait for it

    return TorchModel(two_layer_model())


def a_batch(*lengths: int, **sampling: float) -> StaticBatch:
    prompts = [tuple(range(1000 + 7 * length, 1000 + 8 * length)) for length in lengths]
    return StaticBatch(
        tuple(ScheduledRequest(i, 0.0, ids, OUTPUT, sampling or GREEDY) for i, ids in enumerate(prompts))
    )


def tokens(model: TorchModel, batch: StaticBatch) -> list[list[int]]:
    """The ids of each row."""
    steps: list[list[int]] = []
    model.generate(batch, lambda ids: steps.append(list(ids)))
    return [list(row) for row in zip(*steps, strict=True)]


def test_a_padded_batch_says_what_transformers_says_of_each_prompt_alone(model: TorchModel) -> None:
    import torch

    batch = a_batch(3, 40, 17)
    alone = []
    for request in batch.requests:
        ids = torch.tensor([request.prompt_token_ids])
        whole = model.language_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=OUTPUT, do_sample=False, eos_token_id=-1
        )
        alone.append(whole[0, ids.shape[1] :].tolist())
    assert tokens(model, batch) == alone


def test_a_seed_draws_the_same_tokens_again(model: TorchModel) -> None:
    first, again, other = (
        tokens(model, a_batch(5, 9, temperature=1.0, top_k=50, top_p=0.9, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_top_k_of_one_is_greedy(model: TorchModel) -> None:
    assert tokens(model, a_batch(5, 9, temperature=1.0, top_k=1)) == tokens(model, a_batch(5, 9))


def test_transformers_own_continuous_batching_streams_fixed_lengths(model: TorchModel) -> None:
    from offline.torchbaseline.continuous import ContinuousServing

    serving = ContinuousServing(model, BatchLimits(most_rows=4, most_bytes=1 << 26))
    counts = {0: 0, 1: 0}

    async def both() -> list[str]:
        def count(number: int) -> None:
            counts[number] += 1

        requests = a_batch(4, 30).requests
        sent = [serving.submit(each, lambda _, __, i=each.id: count(i)) for each in requests]
        return [ending.finish for ending in await asyncio.gather(*sent)]

    try:
        assert asyncio.run(both()) == ["length", "length"]
    finally:
        serving.close()
    assert counts == {0: OUTPUT, 1: OUTPUT}


def test_a_transformers_whose_settings_have_other_names_is_refused_in_its_words(
    model: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of 5.17, which knows no `page_size`."""
    import transformers

    from offline.torchbaseline.continuous import ContinuousServing

    def settings(block_size: int) -> None:
        """No more than that."""

    monkeypatch.setattr(transformers, "ContinuousBatchingConfig", settings)
    with pytest.raises(EnginescopeError, match=r"continuous batching does not run here: .*page_size"):
        ContinuousServing(model, BatchLimits(most_rows=4, most_bytes=1 << 26))
