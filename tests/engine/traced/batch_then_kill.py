"""LLM.generate with 16 prompts; then once more, with EngineCore killed in the middle. Arguments: the model's folder."""

from __future__ import annotations

import os
import signal
import sys
import threading

import psutil


def kill_core() -> None:
    """SIGKILL the engine's core, as an out-of-memory killer would."""
    for child in psutil.Process(os.getpid()).children(recursive=True):
        if child.name().startswith("VLLM::EngineCor") or "EngineCore" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)


def main() -> None:
    from vllm import LLM, SamplingParams

    llm = LLM(
        sys.argv[1],
        load_format="dummy",
        enforce_eager=True,
        dtype="float32",
        max_model_len=512,
        kv_cache_memory_bytes=64 << 20,
    )
    prompts = [f"A story about the number {number}." for number in range(16)]
    short = SamplingParams(max_tokens=24, temperature=0, ignore_eos=True)
    print(len(llm.generate(prompts, short)), "outputs", flush=True)
    threading.Timer(0.5, kill_core).start()
    threading.Timer(3, os._exit, (1,)).start()  # the synchronous client of 0.32 waits for a dead core for ever
    llm.generate(prompts[:4], SamplingParams(max_tokens=400, temperature=0, ignore_eos=True))


if __name__ == "__main__":
    main()
