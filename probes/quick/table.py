"""How a trial looks on a terminal: the line that came, how fast, the start's phases, the memory."""

from __future__ import annotations

from collections.abc import Iterator

from probes.memory.table import device_lines, process_lines, weights_text
from probes.quick.generation import PROMPT, Generation
from probes.quick.trial import QuickTrial
from probes.serve.report.table import diagnosis_lines, quoted


def report(trial: QuickTrial) -> Iterator[str]:
    """Lines for the terminal."""
    if trial.diagnosis:
        yield from diagnosis_lines(trial.diagnosis, "engine")
        yield f"its log: {trial.log}"
    if trial.generation:
        yield from _answer_lines(trial.generation)
        yield from _start_lines(trial)
    if trial.memory:
        yield ""
        yield from process_lines(trial.memory.processes)
        yield f"weights   {weights_text(trial.memory)}"
        yield from device_lines(trial.memory.devices)


def _answer_lines(of: Generation) -> Iterator[str]:
    yield f"{quoted(PROMPT)} → {quoted(of.text)}"
    first = f"the first {of.first_tokens} tokens took {of.first_s:.2f} s, one-time costs of the first answer included"
    yield f"{of.tok_s:.1f} tok/s out, of {of.timed_tokens} tokens of one request alone (n=1); {first}"
    if of.kv_blocks and of.block_size_tokens:
        tokens = of.kv_blocks * of.block_size_tokens
        yield f"KV cache  {of.kv_blocks:,} blocks × {of.block_size_tokens} = {tokens:,} tokens"  # noqa: RUF001


def _start_lines(trial: QuickTrial) -> Iterator[str]:
    yield ""
    yield f"start     {trial.took_s:.1f} s until the answers, by the lines of its log:"
    yield from (f"          {took_s:6.1f} s  {name}" for name, took_s in trial.phases)
