"""Does our timing agree with `vllm.benchmarks.latency`? Their loop and ours on one engine, run by run in turns.

Their `main` is called as it is, one iteration a call; only the engine that it would make is replaced by ours, so that
lengths, batch, sampling (temperature 1), log stats and engine arguments are the same thing and not merely alike.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
CELLS = ((1, 32), (1, 96), (4, 32), (4, 96))  # batch size, prompt tokens
OUTPUT_LEN = 16


def theirs(engine: Any, model: str, batch: int, input_len: int) -> float:
    """Seconds of one iteration of vLLM's own latency benchmark."""
    import vllm
    from vllm.benchmarks import latency
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    latency.add_cli_args(parser)
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        words = ["--model", model, "--batch-size", str(batch), "--input-len", str(input_len)]
        words += ["--output-len", str(OUTPUT_LEN), "--num-iters-warmup", "0", "--num-iters", "1"]
        arguments = parser.parse_args([*words, "--output-json", out.name])
        original = vllm.LLM.from_engine_args
        vllm.LLM.from_engine_args = classmethod(lambda cls, engine_args: engine.llm)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                latency.main(arguments)
        finally:
            vllm.LLM.from_engine_args = original
        return float(json.loads(Path(out.name).read_text())["latencies"][0])


def ours(engine: Any, batch: int, input_len: int, seed: int) -> float:
    """Seconds of one of our trials, as `offline.engine.arm` times it."""
    from offline.spec.grid import Cell
    from offline.spec.prompts import workload

    work = workload(Cell(batch, "cold", input_len, OUTPUT_LEN, 0), seed, engine.vocabulary)
    done = engine.generate(work.prompts, OUTPUT_LEN, temperature=1.0)
    return float(done["end_ns"] - done["start_ns"]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python tests/bench/vllm_latency.py --pairs 10"
    )
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    from offline.engine.adapter import Engine
    from offline.table.statistics import mean_interval
    from probes.checkpoint import default_model

    model = str(default_model())
    settings = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 1 << 29, "max_model_len": 256}
    engine = Engine({"model": model, "block_size": 128, "enable_prefix_caching": False, **settings})
    print(f"{'cell':>14} {'theirs, median':>15} {'ours, median':>13} {'ours / theirs, pair by pair':>40}")
    for batch, input_len in CELLS:
        theirs(engine, model, batch, input_len), ours(engine, batch, input_len, 0)  # warm up both
        latencies: list[tuple[float, float]] = []
        for pair in range(pairs):
            if pair % 2:  # turn about, so that neither always comes first
                second = ours(engine, batch, input_len, pair + 1)
                latencies.append((theirs(engine, model, batch, input_len), second))
            else:
                latencies.append((theirs(engine, model, batch, input_len), ours(engine, batch, input_len, pair + 1)))
        ratio = mean_interval([b / a for a, b in latencies])
        assert ratio and ratio.lo is not None and ratio.hi is not None
        medians = [statistics.median(values) for values in zip(*latencies, strict=True)]
        agrees = abs(medians[1] / medians[0] - 1) <= 0.03 or ratio.lo <= 1 <= ratio.hi
        words = f"{ratio.mean:.4f} [{ratio.lo:.4f}, {ratio.hi:.4f}] {'agrees' if agrees else 'DIFFERS'}"
        print(f"{f'{batch} x {input_len}':>14} {medians[0]:>13.4f} s {medians[1]:>11.4f} s {words:>40}", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
