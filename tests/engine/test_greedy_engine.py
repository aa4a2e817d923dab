"""What the default model says on the real engine, beside another library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.checkpoint import default_model
from tests.engine.recording import IN_PROCESS, LIMIT_S, ROOT

pytestmark = [pytest.mark.engine, pytest.mark.slow]
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


def transformers_tokens(folder: Path, prompts: list[list[int]]) -> list[list[int]]:
    """transformers' own greedy output in float32: 16 tokens a prompt."""
    import torch  # here: every process that collects the tests would wait for it
    from transformers import AutoModelForCausalLM

    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = []
    for ids in prompts:
        with torch.no_grad():
            whole = language_model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
        tokens.append(whole[0, len(ids) :].tolist())
    return tokens


def test_the_default_model_says_what_transformers_says(tmp_path: Path) -> None:
    """Greedy output in float32, token for token, on 8 prompts."""
    from transformers import AutoTokenizer

    folder, job = default_model(), tmp_path / "job.json"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    job.write_text(json.dumps({"model": str(folder), "ids": ids}))
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, str(ROOT / "tests" / "engine" / "greedy.py"), str(job)]
        engine = subprocess.Popen(command, env=os.environ | IN_PROCESS, stdout=subprocess.PIPE, stderr=log, text=True)
        reference = transformers_tokens(folder, ids)
        out, _ = engine.communicate(timeout=LIMIT_S)
    assert engine.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert json.loads(out.splitlines()[-1]) == reference
