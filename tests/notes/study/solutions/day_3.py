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
    pieces = []
    async with aclosing(stream):
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == count:
                break
    return pieces


ABORT_ORDER = [
    "AsyncLLM.abort",
    "OutputProcessor.abort_requests",
    "AsyncMPClient._send_input",
    "MsgpackDecoder.decode",
    "EngineCore.abort_requests",
    "Scheduler._free_request",
]

HANDLERS = [
    (("CancelledError", "GeneratorExit"), True),
    ("EngineDeadError", False),
    (("VLLMClientError", "GracefulHTTPError"), False),
    ("InputStreamError", True),
    ("Exception", True),
]
