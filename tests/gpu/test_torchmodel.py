"""The baseline's model on a GPU: the tokens that the CPU says, and the memory that its arithmetic foretells."""

from __future__ import annotations

import pytest

from offline.torchbaseline.batch import StaticBatch
from offline.variants.serving import ScheduledRequest
from probes.checkpoint import two_layer_model
from tests.needs import needs_gpu, needs_torch, needs_transformers

pytestmark = [needs_gpu, needs_torch, needs_transformers]


def a_batch(rows: int, prompt_len: int, output_len: int) -> StaticBatch:
    prompts = [tuple(range(1000 + 7 * row, 1000 + 7 * row + prompt_len)) for row in range(rows)]
    return StaticBatch(
        tuple(ScheduledRequest(i, 0.0, ids, output_len, {"temperature": 0.0}) for i, ids in enumerate(prompts))
    )


@pytest.mark.parametrize(("rows", "prompt_len", "output_len"), [(1, 512, 64), (16, 512, 64), (64, 256, 32)])
def test_a_batch_takes_no_more_than_foretold(rows: int, prompt_len: int, output_len: int) -> None:
    import torch

    from offline.torchbaseline.model import TorchModel

    model = TorchModel(two_layer_model())
    assert model.device == "cuda"
    model.generate(a_batch(1, 8, 2), lambda _: None)  # the libraries' own memory is taken once
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    model.generate(a_batch(rows, prompt_len, output_len), lambda _: None)
    taken, foretold = torch.cuda.max_memory_allocated() - before, model.memory.batch_bytes(rows, prompt_len, output_len)
    print(f"\n{rows} rows of {prompt_len} + {output_len}: {taken / 2**20:.1f} MiB, foretold {foretold / 2**20:.1f} MiB")
    assert 0.2 * foretold < taken <= foretold


def test_the_gpu_says_what_the_cpu_says() -> None:
    import torch

    from offline.torchbaseline.model import TorchModel

    model = TorchModel(two_layer_model())
    answers: list[list[list[int]]] = []
    for device in ("cuda", "cpu"):
        model.device, steps = device, list[list[int]]()
        model.language_model.to(device)
        model.generate(a_batch(4, 40, 12), lambda ids, steps=steps: steps.append(list(ids)))  # type: ignore[misc]
        answers.append(steps)
    assert answers[0] == answers[1], f"float32, {torch.backends.cuda.matmul.allow_tf32=}"
