"""Server-sent events out of the bytes of a stream, however the network has cut them.

After the event-stream part of the HTML standard: lines end in LF, CRLF or CR, a blank line ends an event, a line that
begins with a colon is a comment. Only `data` matters to an OpenAI-compatible server.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"


class Events:
    """Bytes in, the data of whole events out; the same events for every way of cutting the bytes.

    | fed                               | given                  |
    | --------------------------------- | ---------------------- |
    | `data: a⏎`, then `⏎data:b⏎⏎: hi⏎` | `[]`, then `[a, b]`    |
    | `data: a⏎data: b⏎⏎`               | `[a⏎b]`                |
    | `event: x⏎⏎`                      | `[]`: an event of none |
    | `error: {…}⏎⏎`                    | `[{"error":{…}}]`: a field of llama.cpp's own, until the end of 2025 |
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line without an end yet, joined once
        self._data: list[bytes] = []
        self._after_cr = False
        self._begun = False

    @property
    def is_between(self) -> bool:
        """Whether no event has begun: what comes next stands by itself."""
        return not (self._line or self._data or self._after_cr)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that `chunk` completes."""
        if self._after_cr and chunk.startswith(b"\n"):
            self._after_cr, chunk = False, chunk[1:]  # the second half of a CRLF that was cut in two
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        rest = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        if self._line and lines:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line = []
        if rest:
            self._line.append(rest)
        return self._events(lines)

    def close(self) -> list[bytes]:
        """The data of an event that the end of the stream cut off before its blank line; it may be half."""
        lines = [b"".join(self._line), b""]
        self._line = []
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        if lines and not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(BOM)
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line.startswith(b"error:"):
                self._data.append(b'{"error":%b}' % line[6:])
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        return events
