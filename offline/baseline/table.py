"""The comparison as a table: a row a batch size, the engine over plain PyTorch with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from offline.baseline.records import TORCH, VLLM, SideMemory, SideRecord, SideTrial
from offline.table.statistics import mean_interval
from probes.columns import column


@dataclass(frozen=True)
class BatchRow:
    """One batch size on both sides; memory is the most of all starts, in bytes."""

    batch_size: int = field(metadata=column("requests of a batch", "requests"))
    starts: int = field(metadata=column("starts of each side"))
    rounds: int = field(metadata=column("timed batches of each side, all starts"))
    torch_tok_s: float = field(metadata=column("transformers: generated tokens a second, mean", "tok/s"))
    vllm_tok_s: float = field(metadata=column("vLLM: the same", "tok/s"))
    torch_latency_s: float = field(metadata=column("transformers: latency of a request, mean", "s"))
    vllm_latency_s: float = field(metadata=column("vLLM: the same", "s"))
    factor: float = field(metadata=column("throughput, vLLM over transformers", "", "e^mean(ln ratio within a round)"))
    factor_lo: float | None = field(metadata=column("lower end of its 95 % interval"))
    factor_hi: float | None = field(metadata=column("upper end"))
    interval: str = field(metadata=column("what the interval is over: starts, or rounds of the only start"))
    torch_before_bytes: int | None = field(metadata=column("transformers: memory before a batch", "bytes"))
    torch_during_bytes: int | None = field(metadata=column("transformers: the most during it", "bytes"))
    torch_after_bytes: int | None = field(metadata=column("transformers: after it", "bytes"))
    vllm_before_bytes: int | None = field(metadata=column("vLLM: memory before a batch", "bytes"))
    vllm_during_bytes: int | None = field(metadata=column("vLLM: the most during it", "bytes"))
    vllm_after_bytes: int | None = field(metadata=column("vLLM: after it", "bytes"))


def batch_rows(records: Sequence[SideRecord]) -> list[BatchRow]:
    """The rows of all batch sizes that both sides ran."""
    trials = [each for each in records if isinstance(each, SideTrial)]
    sizes = sorted({each.batch_size for each in trials})
    rows = [_row(size, [each for each in trials if each.batch_size == size], records) for size in sizes]
    return [row for row in rows if row is not None]


def _row(size: int, trials: Sequence[SideTrial], records: Sequence[SideRecord]) -> BatchRow | None:
    by_side = {side: [each for each in trials if each.side == side] for side in (TORCH, VLLM)}
    by_start = ratios(by_side[TORCH], by_side[VLLM])
    if not by_start:
        return None
    rounds = sum(map(len, by_start))
    several = len(by_start) > 1
    interval = mean_interval([fmean(logs) for logs in by_start] if several else by_start[0])
    assert interval is not None
    low, high = (None if end is None else math.exp(end) for end in (interval.lo, interval.hi))
    return BatchRow(
        batch_size=size,
        starts=len(by_start),
        rounds=rounds,
        factor=math.exp(interval.mean),
        factor_lo=low,
        factor_hi=high,
        interval=f"{len(by_start)} starts" if several else f"{rounds} rounds of one start",
        torch_tok_s=fmean(each.output_tok_s for each in by_side[TORCH]),
        vllm_tok_s=fmean(each.output_tok_s for each in by_side[VLLM]),
        torch_latency_s=fmean(seconds for each in by_side[TORCH] for seconds in each.latency_s),
        vllm_latency_s=fmean(seconds for each in by_side[VLLM] for seconds in each.latency_s),
        **{f"{name}_{when}_bytes": _memory(records, side, size, when) for name, side in NAMES for when in WHEN},
    )


NAMES = (("torch", TORCH), ("vllm", VLLM))
WHEN = ("before", "during", "after")


def ratios(base: Sequence[SideTrial], other: Sequence[SideTrial]) -> list[list[float]]:
    """Logarithms of the ratio of throughputs within each round that both sides ran, a list a start."""
    by_round = {(each.start, each.round): each.output_tok_s for each in base}
    starts: dict[int, list[float]] = {}
    for each in other:
        if (each.start, each.round) in by_round:
            value = math.log(each.output_tok_s / by_round[each.start, each.round])
            starts.setdefault(each.start, []).append(value)
    return list(starts.values())


def _memory(records: Sequence[SideRecord], side: str, size: int, when: str) -> int | None:
    own = [r for r in records if isinstance(r, SideMemory) and (r.side, r.batch_size) == (side, size)]
    return max((int(getattr(each, f"{when}_bytes")) for each in own), default=None)


def factor_sentence(row: BatchRow) -> str:
    """The factor of a batch size, and whether it is told from 1."""
    size = f"Batches of {row.batch_size}" if row.batch_size > 1 else "One request at a time"
    text = f"{size}: vLLM gave {row.factor:.2f} times the tokens a second of transformers"
    if row.factor_lo is None or row.factor_hi is None:
        return f"{text} (n=1)."
    doubt = ": no difference seen" if row.factor_lo <= 1 <= row.factor_hi else ""
    return f"{text} ({row.factor_lo:.2f} to {row.factor_hi:.2f}){doubt}."


HEADINGS = (
    *("batch", "PyTorch tok/s", "vLLM tok/s", "factor", "PyTorch latency s", "vLLM latency s"),
    *("PyTorch MiB before / during / after", "vLLM MiB before / during / after"),
)


def cells(row: BatchRow) -> list[str]:
    """A row of the short table."""
    ends = "n=1" if row.factor_lo is None else f"{row.factor_lo:.2f} to {row.factor_hi:.2f}"
    memory = [" / ".join(_mib(getattr(row, f"{name}_{when}_bytes")) for when in WHEN) for name in ("torch", "vllm")]
    figures = [f"{row.torch_tok_s:.1f}", f"{row.vllm_tok_s:.1f}", f"{row.factor:.2f} ({ends})"]
    return [str(row.batch_size), *figures, f"{row.torch_latency_s:.2f}", f"{row.vllm_latency_s:.2f}", *memory]


def _mib(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**20:.0f}"
