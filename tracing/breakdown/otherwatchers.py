"""What other watchers saw beside the recorder, as records of the review: torch's profiler, py-spy and nsys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from probes.columns import column


@dataclass(frozen=True)
class OperatorStage:
    """A row of `operators.stages`: what torch's profiler saw in one stage, over all steps."""

    stage: str = field(metadata=column("the innermost stage around it"))
    span_ns: int | None = field(metadata=column("the time in spans of the stage; null: it has none", "ns"))
    operator_ns: int = field(metadata=column("operators' own time", "ns"))
    kernel_ns: int = field(metadata=column("kernels that the stage launched", "ns"))
    copy_ns: int = field(metadata=column("copies that the stage launched", "ns"))


@dataclass(frozen=True)
class LargestOperator:
    """A row of `operators.rows`: an operator, kernel or copy in one stage; the largest own time first."""

    stage: str = field(metadata=column("the innermost stage around it, or around its launch"))
    name: str = field(metadata=column("as the profiler names it"))
    kind: str = field(metadata=column("operator, kernel or copy"))
    count: int = field(metadata=column("over all steps", "calls"))
    own_ns: int = field(metadata=column("its own time, without that of what it called", "ns"))
    share: float = field(metadata=column("of the own time of all operators; of kernels and copies, of these", "1"))


@dataclass(frozen=True)
class OperatorSummary:
    """`operators`: the torch traces of the folder."""

    files: tuple[str, ...] = field(metadata=column("the traces' names"))
    problems: tuple[str, ...] = field(metadata=column("what could not be read, a line each"))
    clock_uncertainty_ns: int = field(metadata=column("how well the two clocks agree", "ns"))
    steps: int = field(metadata=column("the steps that the traces cover", "steps"))
    stages: tuple[OperatorStage, ...] = field(metadata=column("the sums by stage"))
    rows: tuple[LargestOperator, ...] = field(metadata=column("the largest by stage and name"))


@dataclass(frozen=True)
class SampledThread:
    """A row of `samples.threads`: one thread while the engine served."""

    role: str = field(metadata=column("front end, core, core input, core output or worker"))
    thread: str = field(metadata=column("the thread's name"))
    pid: int = field(metadata=column("the process"))
    samples: int = field(metadata=column("taken of it", "samples"))
    working: float = field(metadata=column("the share of its time in which it worked", "1"))
    waiting_for: dict[str, float] = field(metadata=column("what it waited for, each as a share of its time", "1"))


@dataclass(frozen=True)
class SampledLine:
    """A row of `samples.stages[].lines`: one place in the source."""

    line: str = field(metadata=column("the innermost frame, and where that is not vLLM's, the innermost that is"))
    samples: int = field(metadata=column("taken there", "samples"))
    seconds: float = field(metadata=column("the time there", "s"))
    share: float = field(metadata=column("of the stage's time", "1"))


@dataclass(frozen=True)
class SampledStage:
    """A row of `samples.stages`: one stage of a role."""

    role: str = field(metadata=column("front end, core, core input, core output or worker"))
    stage: str = field(metadata=column("the stage or wait"))
    samples: int = field(metadata=column("taken in it", "samples"))
    seconds: float = field(metadata=column("the time in it", "s"))
    share: float = field(metadata=column("of the time in all stages of the role", "1"))
    working: float = field(metadata=column("the share of its time in which the thread worked", "1"))
    lines: tuple[SampledLine, ...] = field(metadata=column("the lines with the most time"))


@dataclass(frozen=True)
class SampleSummary:
    """`samples`: py-spy's samples of the folder."""

    head: tuple[str, ...] = field(metadata=column("what was sampled and how sure its place in time is, a line each"))
    threads: tuple[SampledThread, ...] = field(metadata=column("who works and who waits"))
    stages: tuple[SampledStage, ...] = field(metadata=column("what the Python of each stage does"))


@dataclass(frozen=True)
class GpuStage:
    """A row of `gpu.stages`, by the stage that launched the work: medians over a kind of step, or sums outside steps.

    Time is summed over streams, so it may exceed the step's.
    """

    kind: str = field(metadata=column("the kind of step, or no step"))
    stage: str = field(metadata=column("the stage that launched the work"))
    steps: int = field(metadata=column("the steps of that kind; 0: the row holds sums", "steps"))
    kernels: float = field(metadata=column("how many ran", "kernels"))
    kernel_ns: float = field(metadata=column("their time", "ns"))
    copies: float = field(metadata=column("copies and fills", "copies"))
    copy_ns: float = field(metadata=column("their time", "ns"))
    bytes: float = field(metadata=column("that they moved", "bytes"))


@dataclass(frozen=True)
class GapCause:
    """A row of `gpu.devices[].causes`."""

    cause: str = field(metadata=column("the stage, wait or hop during which the device waited"))
    ns: int = field(metadata=column("of `gap_ns`, the time that it explains", "ns"))


@dataclass(frozen=True)
class GpuDevice:
    """A row of `gpu.devices`: how one device spent its time in the steps of a kind."""

    device: int = field(metadata=column("its number"))
    kind: str = field(metadata=column("the kind of step; all: every step"))
    window_ns: int = field(metadata=column("the time of these steps, each to the next one's start", "ns"))
    busy_ns: int = field(metadata=column("in which anything ran on it; by the recorder at most so long", "ns"))
    busy_least_ns: int = field(metadata=column("in which it ran for sure: after all of a piece was launched", "ns"))
    idle_ns: int = field(metadata=column("in which nothing did", "ns", "window_ns - busy_ns"))
    gaps: int = field(metadata=column("idle times of more than 20 µs", "gaps"))
    gap_ns: int = field(metadata=column("the time in these", "ns"))
    short_gap_ns: int = field(metadata=column("the rest of the idle time", "ns", "idle_ns - gap_ns"))
    causes: tuple[GapCause, ...] = field(metadata=column("what the gaps are due to, the largest first"))

    def joined(self, other: GpuDevice) -> GpuDevice:
        """The two together."""
        total = {cause.cause: cause.ns for cause in self.causes}
        for cause in other.causes:
            total[cause.cause] = total.get(cause.cause, 0) + cause.ns
        names = ("window_ns", "busy_ns", "busy_least_ns", "idle_ns", "gaps", "gap_ns", "short_gap_ns")
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        ordered = sorted(total.items(), key=lambda cause: -cause[1])
        return replace(self, **sums, causes=tuple(GapCause(*cause) for cause in ordered))


@dataclass(frozen=True)
class GpuSummary:
    """`gpu`: the CUDA activity of an nsys report."""

    stages: tuple[GpuStage, ...] = field(metadata=column("kernels and copies by stage"))
    devices: tuple[GpuDevice, ...] = field(metadata=column("how long each device was busy, and why it waited"))
