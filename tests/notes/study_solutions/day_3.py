"""Day 3, as it may be answered."""

import asyncio
from contextlib import aclosing


async def stream(engine, prompt):
    request = await engine.add(prompt)
    try:
        while (piece := await request.get()) is not None:
            yield piece
    except (asyncio.CancelledError, GeneratorExit):
        await engine.abort(request)
        raise


async def first_pieces(stream, count):
    found = []
    async with aclosing(stream):
        async for piece in stream:
            found.append(piece)
            if len(found) == count:
                break
    return found


ABORT_ORDER = [
    "AsyncLLM.abort",
    "OutputProcessor.abort_requests",
    "AsyncMPClient._send_input",
    "MsgpackDecoder.decode",
    "EngineCore.abort_requests",
    "Scheduler._free_request",
]
