"""What the default model says on the real engine, beside another library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from offline.torchbaseline.batch import StaticBatch
from offline.variants.serving import ScheduledRequest
from probes.checkpoint import default_model
from tests.engine.recording import IN_PROCESS, LIMIT_S, ROOT

if TYPE_CHECKING:
    from offline.torchbaseline.model import TorchModel

pytestmark = [pytest.mark.engine, pytest.mark.slow(50)]
PROMPTS = [
    "1, 2, 3, 4, 5, 6, 7, 8,",
    "Monday, Tuesday, Wednesday,",
    "The capital of France is",
    "a b c d e f g h i j k",
    "Water boils at 100 degrees",
    "January, February, March, April,",
    "Once upon a time, there was a",
    "def add(a, b):\n    return",
]


OUTPUT = 32
NEAR = 0.02  # nats: two tokens that are nearer each other may change places with the order of a sum


def baseline_tokens(model: TorchModel, prompts: list[list[int]]) -> list[list[int]]:
    """What our baseline on transformers says, all prompts in one padded batch."""
    steps: list[list[int]] = []
    requests = tuple(ScheduledRequest(i, 0.0, tuple(ids), OUTPUT) for i, ids in enumerate(prompts))
    model.generate(StaticBatch(requests), lambda ids: steps.append(list(ids)))
    return [list(row) for row in zip(*steps, strict=True)]


def parting(model: TorchModel, prompt: list[int], ours: list[int], engines: list[int]) -> str | None:
    """Where two outputs part although transformers, asked there, had a clear winner; None where they do not."""
    import torch

    for place, (mine, other) in enumerate(zip(ours, engines, strict=False)):
        if mine != other:
            with torch.no_grad():
                logits = model.language_model(torch.tensor([prompt + ours[:place]])).logits[0, -1]
            first, second = logits.log_softmax(-1).topk(2).values.tolist()
            apart = f"token {place}: {mine} and {other}, {first - second:.3f} nats apart"
            return apart if first - second > NEAR else None
    return None


def test_the_default_model_says_what_transformers_says(tmp_path: Path) -> None:
    """Greedy output in float32, token for token, on 8 prompts, of vLLM and of the baseline that it is compared with."""
    from transformers import AutoTokenizer

    from offline.torchbaseline.model import TorchModel

    folder, job = default_model(), tmp_path / "job.json"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    job.write_text(json.dumps({"model": str(folder), "ids": ids, "output_len": OUTPUT}))
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, str(ROOT / "tests" / "engine" / "offline" / "greedy.py"), str(job)]
        engine = subprocess.Popen(command, env=os.environ | IN_PROCESS, stdout=subprocess.PIPE, stderr=log, text=True)
        model = TorchModel(folder)
        reference = baseline_tokens(model, ids)
        out, _ = engine.communicate(timeout=LIMIT_S)
    assert engine.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    answers = json.loads(out.splitlines()[-1])
    assert [len(answer) > OUTPUT / 2 for answer in answers].count(True) >= 6  # few stop by themselves
    pairs = zip(ids, reference, answers, strict=True)
    assert [parting(model, prompt, mine, other) for prompt, mine, other in pairs] == [None] * len(PROMPTS)
