"""Wrong answers to day 3, streams and aborts, each with words of what its writer hears."""

from __future__ import annotations

READING = """
async def stream(engine, prompt):
    request = await engine.add(prompt)
    try:
        while (piece := await request.get()) is not None:
            yield piece
"""


def ending(clause: str, *lines: str) -> str:
    """A stream that reads as it should, and ends in this way."""
    return "\n".join((f"{READING}    {clause}", *(f"        {line}" for line in lines)))


WRONG = [
    (
        """
        async def stream(engine, prompt):
            request = await engine.add(prompt)
            while (piece := await request.get()) is not None:
                yield piece
        """,
        "the client left, and the engine goes on with its request",
    ),
    (
        ending("finally:", "await engine.abort(request)"),
        "a request that had ended was aborted",
    ),
    (
        ending("except GeneratorExit:", "await engine.abort(request)", "raise"),
        "the reader was cancelled before the first piece, and the engine goes on",
    ),
    (
        ending("except BaseException:", "await engine.abort(request)"),
        "the reader's task did not end as cancelled",
    ),
    (
        ending("except GeneratorExit:", 'yield "bye"'),
        "closing it raised async generator ignored GeneratorExit",
    ),
    (
        """
        async def stream(engine, prompt):
            try:
                async for piece in right.stream(engine, prompt):
                    yield piece
            except OSError:
                return
        """,
        "goes on with its request",  # the generator inside is left open: the trap of the day, in a dress
    ),
    ("async def stream(engine, prompt):\n return []", "gives a coroutine, not an async generator"),
    (
        """
        async def first_pieces(stream, count):
            found = []
            async for piece in stream:
                found.append(piece)
                if len(found) == count:
                    break
            return found
        """,
        "the stream is still open when first_pieces returns",
    ),
    ("async def first_pieces(stream, count):\n return [piece async for piece in stream][:count]", "it asked for 8"),
    ("ABORT_ORDER = right.ABORT_ORDER[::-1]", "Scheduler._free_request is not number 1"),
    ("ABORT_ORDER = right.ABORT_ORDER[:3]", "each of the day's six places, once"),
    ("HANDLERS = [*right.HANDLERS[:1], ('EngineDeadError', True)]", "clause 2 (EngineDeadError) does not abort"),
    ("HANDLERS = right.HANDLERS[1:]", "clause 1 does not catch EngineDeadError"),
    ("HANDLERS = right.HANDLERS[:2]", "HANDLERS has 2 entries"),
]
