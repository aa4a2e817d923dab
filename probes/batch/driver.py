"""A batch from its input to its output: what has no answer yet is sent, and the end is summed up."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from probes.batch.modelnames import model_names
from probes.batch.outcomes import Answered, Outcomes, Shared
from probes.batch.progress import Progress
from probes.batch.record import Record
from probes.batch.request import count
from probes.batch.sending import Settings, run
from probes.client.loops import freeze_heap, quick_loop
from probes.columns import write_beside
from probes.errors import INCOMPLETE, INTERRUPTED, usage_error
from probes.prompts.files import Prompt
from probes.prompts.repeated import repeated

SPARE_FILES = 64
MOST_AT_ONCE = 4_096  # requests in flight: at most 100 MiB in all, and quick to end


def batch(source: Path, output: Path, resume: bool, settings: Settings, key: str | None, repeat: int = 1) -> int:
    """Send the prompts of `source`, `repeat` times, that have no answer in `output`; the exit code."""
    counts = count(source, settings.mode)
    total = repeat * counts.prompts
    if counts.empty:
        print(f"{counts.empty:,} entries of {source} are empty and are left out", file=sys.stderr)
    outcomes = Outcomes(output, key)
    try:
        if not resume and not outcomes.is_empty:
            raise usage_error(f"{output} is there already: continue it with --resume, or name another")
        answered = outcomes.keep_answers(Shared(settings.mode, settings.model, settings.stream))
        explained = write_beside(output, Record)
        progress = Progress(total, answered.count)
        settings = bounded(settings, total - answered.count)
        whole = drive(settings, key, unanswered(source, answered, repeat), outcomes, progress)
    finally:
        outcomes.close()
    names = model_names(settings, key) if progress.is_anything_missing else []
    files = f"{output} and {explained}" if explained else output
    print(f"{progress.summary(names)}\nWrote {files}; python -m probes.report {output}")
    if not whole:
        print("interrupted; continue with --resume", file=sys.stderr)
        return INTERRUPTED
    return INCOMPLETE if progress.failed else 0


def unanswered(source: Path, answered: Answered, repeat: int) -> Iterator[Prompt]:
    """The prompts that are still to be sent."""
    return (prompt for prompt in repeated(source, repeat) if not answered.has(prompt.line, prompt.crc32))


def bounded(settings: Settings, prompts: int) -> Settings:
    """The settings with at most one slot a prompt, and no more than memory, ports and open files allow."""
    limit = settings.concurrency or MOST_AT_ONCE
    slots = max(1, min(limit, prompts, MOST_AT_ONCE, allow_files(min(limit, MOST_AT_ONCE) + SPARE_FILES) - SPARE_FILES))
    if slots < min(limit, prompts) and settings.concurrency:
        print(f"--concurrency {limit}: {slots:,} prompts at a time, which is the most here", file=sys.stderr)
    return replace(settings, concurrency=slots)


def allow_files(count: int) -> int:
    """Let this process have as many open files as it may, up to `count`; how many it may have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return max(soft, most)


def drive(
    settings: Settings, key: str | None, prompts: Iterator[Prompt], outcomes: Outcomes, progress: Progress
) -> bool:
    """Run the event loop to the end of the batch; whether it got there, or was interrupted."""

    def settle(record: Record) -> None:
        progress.count(outcomes.write(record))

    async def guarded() -> bool:
        loop, work = asyncio.get_running_loop(), asyncio.create_task(run(settings, key, prompts, settle))

        def interrupt() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)  # the second time it ends us at once
            work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        with progress.live():
            await asyncio.wait((work,))
        if work.cancelled():
            return False
        work.result()
        return True

    freeze_heap()
    with asyncio.Runner(loop_factory=quick_loop()) as runner:
        return runner.run(guarded())
