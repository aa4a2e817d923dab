"""The adapter to vLLM's `LLM`, run in a child process: loads, generates a line, and then waits to be looked at.

A second answer is timed: what only the first brings (kernels that are built, buffers that are made) is not in it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROMPT = "The capital of France is"
TIMED_PROMPT = "Once upon a time there was"
PROGRAM = "from probes.quick.generation import main; main()"


@dataclass(frozen=True)
class Generation:
    """What came of it. `timed_tokens` were generated in `timed_s`, one request alone; blocks as the engine has them."""

    loaded_s: float
    text: str
    first_tokens: int
    first_s: float
    timed_tokens: int
    timed_s: float
    kv_blocks: int | None
    block_size_tokens: int | None

    @property
    def tok_s(self) -> float:
        """Output tokens a second of the timed answer, its prompt computed in it."""
        return self.timed_tokens / self.timed_s


def main() -> None:
    """`RESULT TOKENS ENGINE_ARGUMENTS…`: writes the result, and stays until it is ended."""
    result, tokens, *words = sys.argv[1:]
    generation = generate(words, int(tokens))
    part = Path(f"{result}.part")
    part.write_text(json.dumps(asdict(generation)))
    os.replace(part, result)
    while True:
        signal.pause()


def generate(words: list[str], tokens: int) -> Generation:
    """Load with the engine's arguments as words, and generate twice."""
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    began = time.monotonic()
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(parser.parse_args(words)))
    loaded_s = time.monotonic() - began
    first, first_s = answer(llm, PROMPT, tokens, False)
    timed, timed_s = answer(llm, TIMED_PROMPT, tokens, True)
    cache = llm.llm_engine.vllm_config.cache_config
    counts = len(first.token_ids), first_s, len(timed.token_ids), timed_s
    return Generation(loaded_s, first.text, *counts, cache.num_gpu_blocks, cache.block_size)


def answer(llm: Any, prompt: str, tokens: int, ignore_eos: bool) -> tuple[Any, float]:
    """A greedy answer of at most so many tokens, and the seconds it took."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=ignore_eos)
    began = time.monotonic()
    [output] = llm.generate([prompt], parameters, use_tqdm=False)
    return output.outputs[0], time.monotonic() - began


def read_generation(result: Path) -> Generation:
    """What the child wrote."""
    return Generation(**json.loads(result.read_text()))
