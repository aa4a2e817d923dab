"""Lines of servers, as vLLM of several versions writes them."""

from __future__ import annotations

from collections.abc import Iterable

from probes.serve.explain.logline import LogLine, parse


def step(iteration: int, context: tuple[int, int], generation: tuple[int, int], ms: float, engine: int = 0) -> str:
    """An iteration line of 0.32; `context` and `generation` are requests and tokens."""
    return (
        f"(APIServer pid=1) INFO 11-26 12:00:0{iteration % 10} [loggers.py:199] Engine {engine:03d}: "
        f"Iteration({iteration}): {context[0]} context requests, {context[1]} context tokens, "
        f"{generation[0]} generation requests, {generation[1]} generation tokens, "
        f"iteration elapsed time: {ms:.2f} ms, GPU KV cache usage: 1.5%"
    )


def load(clock: str, prompt: float, generated: float, running: int, kv: float, front_end: str = "APIServer") -> str:
    """A periodic line of 0.32 of engine 0."""
    return (
        f"({front_end} pid=1) INFO 11-26 {clock} [loggers.py:257] Engine 000: "
        f"Avg prompt throughput: {prompt} tokens/s, Avg generation throughput: {generated} tokens/s, "
        f"Running: {running} reqs, Waiting: 0 reqs, GPU KV cache usage: {kv}%, Prefix cache hit rate: 40.0%"
    )


def parsed(lines: Iterable[str]) -> list[LogLine]:
    """The lines, parsed."""
    return [parse(line) for line in lines]
