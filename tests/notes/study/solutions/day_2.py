"""Day 2, as it may be answered."""

import asyncio
import heapq


async def gather_limited(jobs, limit):
    semaphore = asyncio.Semaphore(limit)

    async def one(job):
        async with semaphore:
            return await job()

    return await asyncio.gather(*map(one, jobs), return_exceptions=True)


def seconds_needed(durations, limit):
    free_at = [0.0] * limit
    for duration in durations:
        heapq.heappush(free_at, heapq.heappop(free_at) + duration)
    return max(free_at)


async def without_blocking(function, *args):
    return await asyncio.to_thread(function, *args)
