"""A worker's trace folder beside which torch traces lie, and what was summed of them."""

from __future__ import annotations

from pathlib import Path

from tests.tracing.torchsums.chrometraces import AHEAD_NS, event
from tests.tracing.traces import TraceWriter
from tracing import timeline
from tracing.timeline import innermost
from tracing.torchsums import operators

ANCHOR = {"monotonic_ns": 0, "wall_ns": AHEAD_NS, "uncertainty_ns": 40}
# Of the worker below: a step that executes from 1,000 to 2,000, of which the model's forward is 1,200 to 1,800.
OPERATORS = [
    event("cpu_op", "aten::slice", 1100, 1150),
    event("cpu_op", "aten::linear", 1200, 1500),  # its own: 300 - 200
    event("cpu_op", "aten::addmm", 1250, 1450),
    event("cpu_op", "aten::linear", 1500, 1540),
    event("cpu_op", "aten::empty", 2500, 2510),
    event("python_function", "model.py(12): forward", 1200, 1800),
    event("user_annotation", "execute", 1000, 2000),
]
KERNELS = [
    event("kernel", "early", 1900, 1930, 0, 7, correlation=3),  # torch may write it before its launch
    event("cuda_runtime", "cudaLaunchKernel", 1300, 1310, correlation=3),
    event("cuda_runtime", "cudaGraphLaunch", 1610, 1620, correlation=4),
    event("kernel", "gemm<float>", 2000, 2400, 0, 7, correlation=4),
    event("kernel", "gemm<float>", 2400, 2900, 0, 7, correlation=4),
    event("cuda_runtime", "cudaMemcpyAsync", 1950, 1960, correlation=5),
    event("gpu_memcpy", "Memcpy DtoH", 3000, 3005, 0, 20, correlation=5),
    event("kernel", "orphan", 3000, 3001, 0, 7, correlation=99),
]


def worker(folder: Path) -> Path:
    writer = TraceWriter(folder, 12, ["worker"])
    writer.span("worker.execute", 1000, 2000, step=5).span("model.forward", 1200, 1800, step=5)
    writer.span("scope", 1200, 1700, step=-1, extra="a scope of vLLM's")
    writer.close(anchor=ANCHOR)
    return folder


def sums(folder: Path) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Count and own time by kind, name and stage; by step they are the same in all."""
    read = operators.read(timeline.read(folder))
    assert read is not None and not read.problems, read
    by_kind = [frame.groupby("kind", observed=True)[["count", "own_ns"]].sum() for frame in (read.names, read.steps)]
    assert by_kind[0].equals(by_kind[1])
    assert ((read.steps["stage"] == innermost.OUTSIDE) == (read.steps["step"] == -1)).all()
    rows = read.names.itertuples(index=False, name=None)
    return {(kind, name, stage): (count, own) for kind, name, stage, count, own in rows}
