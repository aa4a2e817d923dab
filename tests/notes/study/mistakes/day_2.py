"""Wrong answers to day 2, asyncio, each with words of what its writer hears."""

from __future__ import annotations

WRONG = [
    ("async def gather_limited(jobs, limit):\n return [await job() for job in jobs]", "no more than 1 ran at once"),
    (
        "async def gather_limited(jobs, limit):\n return await asyncio.gather(*(j() for j in jobs))",
        "jobs ran at once",
    ),
    ("async def gather_limited(jobs, limit):\n await asyncio.gather(*(j() for j in jobs))", "it returned None"),
    (
        """
        async def gather_limited(jobs, limit):
            found = []
            for at in range(0, len(jobs), limit):
                found += await asyncio.gather(*(job() for job in jobs[at : at + limit]))
            return found
        """,
        "one job's ValueError came out",
    ),
    (
        """
        async def gather_limited(jobs, limit):
            semaphore, tasks = asyncio.Semaphore(limit), []
            async def one(job):
                async with semaphore:
                    return await job()
            tasks = [asyncio.create_task(one(job)) for job in jobs]
            if tasks:
                await asyncio.wait(tasks)
            return [task.exception() or task.result() for task in tasks]
        """,
        "4 task(s) still running after it was cancelled",
    ),
    (
        """
        async def gather_limited(jobs, limit):
            try:
                return await right.gather_limited(jobs, limit)
            except asyncio.CancelledError:
                return []
        """,
        "it was cancelled, and ended as if nothing was",
    ),
    ("def gather_limited(jobs, limit):\n return []", "it raised TypeError"),
    ("def seconds_needed(durations, limit):\n return sum(durations) / limit", "seconds_needed(["),
    ("async def without_blocking(function, *args):\n return function(*args)", "the loop stood still"),
    (
        """
        async def without_blocking(function, *args):
            with contextlib.suppress(ValueError):
                return await asyncio.to_thread(function, *args)
        """,
        "nobody heard of it",
    ),
]
