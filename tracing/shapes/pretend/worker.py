"""Gives each step's forward pass and sampling to the pretend device, in the process that has the worker.

The functions changed here are vLLM's own, and they are changed before any hook comes: a hook is around them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginescope_plugin import TRACE
from tracing.shapes.pretend.device import PretendEvent
from tracing.shapes.pretend.truth import DeviceWait, StepTruth, TruthFiles
from tracing.shapes.pretend.work import Work, kind_of

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput

NO_STEP = -1
NUMBER = "pretend_step"  # the attribute of a scheduler's output that holds its number in the core
Method = Callable[..., Any]


class WorkerDevice:
    """What a worker gives to its device; the truth of it is written beside the trace, where there is one."""

    def __init__(self, work: Work) -> None:
        self._work, self._device = work, PretendEvent.device
        self._scheduled: SchedulerOutput | None = None  # the step that the worker is at
        self._is_dummy = False  # whether it is at a batch without requests
        self._launch_ns = self._begin_ns = 0  # of its forward pass
        self._last_end_ns = -1
        self._files: TruthFiles | None = None
        self._device.on_wait = lambda *wait: self._write(DeviceWait(*wait))

    def take(self, scheduled: SchedulerOutput) -> None:
        """The worker begins with a step."""
        self._device.step = _number(scheduled)
        self._scheduled = scheduled if scheduled.total_num_scheduled_tokens else None

    def take_dummy(self) -> None:
        """The worker begins with a batch without requests, which is of no step."""
        self._device.step, self._scheduled, self._is_dummy = NO_STEP, None, True

    def launch_forward(self) -> None:
        """The model is called. A call that is no batch's, as in a profile run, costs nothing."""
        if self._is_dummy:
            self._is_dummy = False
            self._launch_dummy()
        elif self._scheduled is not None:
            self._launch_ns = self._device.clock()
            self._begin_ns, _ = self._device.give(self._draw(self._scheduled)[0])

    def launch_sampling(self) -> None:
        """The sampler is called: with that the step's work is known."""
        if self._scheduled is not None:
            forward_ns, sampling_ns = self._draw(self._scheduled)
            _, end_ns = self._device.give(sampling_ns)
            self._write_step(self._scheduled, forward_ns + sampling_ns, end_ns)

    def result(self, output: object) -> object:
        """A step's output, as one that waits for the device. With async scheduling vLLM's own does, by its event."""
        scheduled, self._scheduled = self._scheduled, None
        return output if scheduled is None or hasattr(output, "get_output") else _waiting(output)

    def _launch_dummy(self) -> None:
        """It takes as long as a forward pass of a step that decodes; nothing is sampled."""
        launch_ns, (busy_ns, _) = self._device.clock(), self._work.draw("decode", NO_STEP)
        begin_ns, end_ns = self._device.give(busy_ns)
        self._write_piece(NO_STEP, "dummy", 0, launch_ns, begin_ns, end_ns, busy_ns)

    def _draw(self, scheduled: SchedulerOutput) -> tuple[int, int]:
        return self._work.draw(kind_of(scheduled), _number(scheduled))

    def _write_step(self, scheduled: SchedulerOutput, busy_ns: int, end_ns: int) -> None:
        number, kind, tokens = _number(scheduled), kind_of(scheduled), scheduled.total_num_scheduled_tokens
        self._write_piece(number, kind, tokens, self._launch_ns, self._begin_ns, end_ns, busy_ns)

    def _write_piece(
        self, number: int, kind: str, tokens: int, launch_ns: int, begin_ns: int, end_ns: int, busy_ns: int
    ) -> None:
        idle_before_ns = begin_ns - self._last_end_ns if self._last_end_ns >= 0 else -1
        self._last_end_ns = end_ns
        self._write(StepTruth(number, kind, tokens, launch_ns, begin_ns, end_ns, busy_ns, idle_before_ns))

    def _write(self, row: StepTruth | DeviceWait) -> None:
        if folder := os.environ.get(TRACE):
            self._files = self._files or TruthFiles(Path(folder), os.getpid())
            self._files.write(row)


def _number(scheduled: SchedulerOutput) -> int:
    return getattr(scheduled, NUMBER, NO_STEP)


def _waiting(output: Any) -> Any:
    from vllm.v1.outputs import AsyncModelRunnerOutput

    done = PretendEvent()
    done.record()

    class PretendOutput(AsyncModelRunnerOutput):
        """An output that is there when the device has made it."""

        def get_output(self) -> Any:
            done.synchronize()
            return output

    return PretendOutput()


def give_steps(work: Work, runner_v2: bool) -> None:
    """From now on every step of this process goes to its device, and its result waits for that."""
    import torch

    # Its first import puts a placeholder in the place of torch's events.
    import vllm.v1.worker.cpu_worker  # noqa: F401
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.worker.gpu_worker import Worker

    device = WorkerDevice(work)
    torch.cuda.Event = PretendEvent
    torch.cuda._sleep = PretendEvent.device.spin
    runner = _runner(runner_v2)
    sample = "sample" if runner_v2 else "_sample"
    _change(Scheduler, "schedule", _numbering)
    _change(Worker, "load_model", lambda original: _launching(original, device))
    _change(Worker, "execute_model", lambda original: _before(original, lambda args: device.take(args[1])))
    _change(Worker, "execute_dummy_batch", lambda original: _before(original, lambda args: device.take_dummy()))
    _change(runner, sample, lambda original: _before(original, lambda args: device.launch_sampling()))
    _change(runner, "sample_tokens", lambda original: _after(original, device.result))


def _runner(v2: bool) -> type:
    if v2:
        from vllm.v1.worker.gpu import model_runner

        return model_runner.GPUModelRunner
    from vllm.v1.worker import gpu_model_runner

    return gpu_model_runner.GPUModelRunner


def _change(owner: type, name: str, wrap: Callable[[Method], Method]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.update_wrapper(wrap(original), original))


def _before(original: Method, act: Callable[[tuple[Any, ...]], None]) -> Method:
    def call(*args: Any, **kwargs: Any) -> Any:
        act(args)
        return original(*args, **kwargs)

    return call


def _after(original: Method, change: Callable[[Any], Any]) -> Method:
    return lambda *args, **kwargs: change(original(*args, **kwargs))


def _numbering(original: Method) -> Method:
    """`schedule`, with the core's count of its calls on each output; it goes to the worker with that."""
    count = 0

    def schedule(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        output = original(*args, **kwargs)
        setattr(output, NUMBER, count)
        count += 1
        return output

    return schedule


def _launching(original: Method, device: WorkerDevice) -> Method:
    """`load_model`, after which every call of the model is a launch."""

    def load_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(worker, *args, **kwargs)
        model = worker.get_model()
        forward = model.forward
        model.forward = functools.update_wrapper(_before(forward, lambda _: device.launch_forward()), forward)
        return result

    return load_model
