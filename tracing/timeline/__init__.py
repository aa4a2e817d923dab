"""A trace folder as frames: spans, requests, steps. `read` is the way in."""

from tracing.timeline.spans import Timeline, read

__all__ = ["Timeline", "read"]
