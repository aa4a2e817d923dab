"""Tasks spread over places that have one each at a time; what a lost place had is done again by another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from probes.errors import EnginescopeError

P = TypeVar("P")
T = TypeVar("T")


class PlaceLost(Exception):
    """A place is gone, and with it what it was doing."""


@dataclass
class TaskQueue(Generic[T]):
    """The tasks in order, taken by several threads; one that comes back is the next."""

    tasks: Iterator[T]
    returned: list[T] = field(default_factory=list)
    running: int = 0  # tasks that places have: one without a task waits for these, which may come back
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self) -> T | None:
        """The next task; None once all are done."""
        with self.changed:
            while True:
                task = self.returned.pop() if self.returned else next(self.tasks, None)
                if task is not None:
                    self.running += 1
                if task is not None or not self.running:
                    return task
                self.changed.wait()

    def done(self, *lost: T) -> None:
        """A task that was taken is over, or `lost`, and then the next again."""
        with self.changed:
            self.running -= 1
            self.returned += lost
            self.changed.notify_all()

    def close(self) -> None:
        """Give out no task any more."""
        with self.changed:
            self.tasks = iter(())
            self.returned.clear()


def spread(places: Sequence[P], tasks: Iterator[T], work: Callable[[T, P], None], stop: Callable[[], None]) -> None:
    """Give each place one task after the other, in order; an interrupt or an error stops what runs, and is passed on.

    `work` raises `PlaceLost` where its place is gone. With the last one gone, an `EnginescopeError` says so.
    """
    queue = TaskQueue(tasks)

    def serve(place: P) -> None:
        while (task := queue.take()) is not None:
            try:
                work(task, place)
            except PlaceLost:
                queue.done(task)
                return
            except BaseException:
                queue.close()
                queue.done()
                raise
            queue.done()

    with ThreadPoolExecutor(len(places)) as pool:
        try:
            for future in as_completed([pool.submit(serve, place) for place in places]):
                future.result()
        except BaseException:
            queue.close()
            stop()
            raise
    if queue.take() is not None:
        raise EnginescopeError("no node of this run is left; what was measured is kept: continue with --resume")
