"""A trace folder as frames: spans, requests, steps. `read` is the way in."""

from tracing.timeline.frames import read
from tracing.timeline.spans import Timeline

__all__ = ["Timeline", "read"]
