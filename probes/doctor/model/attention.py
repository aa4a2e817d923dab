"""Which attention backends this vLLM, torch and device have for a model, and what of FlashAttention is installed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict

from probes.doctor.model.selection import Question, Selection
from probes.doctor.surroundings import Surroundings
from probes.memory.cachedtype import stated_dtype
from probes.memory.modelconfig import ModelConfig
from probes.programs import OWN_PYTHON

TIMEOUT_S = 180
PROGRAM = "from probes.doctor.model.selection import main; main()"
FLASH = "flash-attn"


def ask_selection(config: ModelConfig, cache_dtype: str | None = None) -> Selection | str:
    """What vLLM's selection answers for the model's first layer and a KV cache of this dtype (None: as the checkpoint
    says); a sentence where it could not be asked."""
    if not config.kv_layers:
        return f"not asked: {config.kv_unknown}"
    words, environ = [*OWN_PYTHON, "-c", PROGRAM], os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"}
    question = json.dumps(asdict(_question(config, cache_dtype)))
    try:
        done = subprocess.run(words, input=question, capture_output=True, text=True, timeout=TIMEOUT_S, env=environ)
    except subprocess.TimeoutExpired:
        return f"not known: vLLM did not answer within {TIMEOUT_S} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}"])[-1]
        return f"not known: {last}"
    return Selection(**json.loads(done.stdout))


def _question(config: ModelConfig, cache_dtype: str | None) -> Question:
    layer = config.kv_layers[0]
    mla, kept = layer.kind == "mla", stated_dtype(config, cache_dtype) or "auto"
    size = layer.values if mla else layer.values // 2
    windowed = any(each.window_tokens for each in config.kv_layers)
    return Question(size, config.loaded_dtype, kept, config.heads, mla, windowed)


def flash_lines(at: Surroundings) -> Iterator[str]:
    """What of FlashAttention there is: vLLM's own, and what a separate `flash-attn` changes.

    By 0.31 to 0.33: attention takes that distribution on ROCm only (`v1/attention/backends/fa_utils.py`); on any GPU
    the rotary embedding of vision models imports it where it is there (`layers/rotary_embedding/common.py`).
    """
    package = at.package("vllm")
    own = sorted(path.name for path in (package / "vllm_flash_attn").glob("*.so")) if package else []
    yield f"vLLM's own FlashAttention: {', '.join(own) or 'not in this build (it comes with those for CUDA)'}"
    if version := at.version(FLASH):
        yield (
            f"{FLASH} {version}: on ROCm FLASH_ATTN is this package; on CUDA attention does not use it, but a vision "
            "model imports its rotary kernel, and does not start where it was built for another torch"
        )
    else:
        yield f"{FLASH}: not installed; on CUDA nothing needs it, on ROCm FLASH_ATTN would be this package"
