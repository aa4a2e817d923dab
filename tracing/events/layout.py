"""The event files: what the recorder writes and the timeline reads, two append-only files a process.

`events-<pid>.bin` is a header of one record, then records of 48 bytes, little-endian, all of the fields of `RECORD`.
`kind` is written last and says what a record is; where it is 0 the record was being written when its process died, or
nothing has been written yet:

- `SPAN`, or `RAISED` where the function ended in an exception: `start`/`end` in nanoseconds of CLOCK_MONOTONIC, `step`
  (see below), `request` (the number of a text, 0 for none), `site` (index into the site table that `process-<pid>.json`
  repeats), `value` and `extra` (the site's `numbers`), `thread` (the operating system's thread id).
- `LIST`: `site` is one of the list codes below, `value` the count of unsigned 32-bit integers, which follow in `MORE`
  records; `start` is when it was written, `step` as in a span, `end` the list's own key.
- `MORE`: the first 44 bytes belong to the `LIST` before it. They follow it without a gap.

A record's sequence number is its place. The header's `written` counts the places taken, before they are filled: one
below it that holds nothing was cut. Where the header's `ring` is not 0 the records are a ring of so many slots: the
record with sequence number n is in slot n modulo `ring`, and the high byte of its `kind` is the low byte of its lap, n
divided by `ring`; a slot with another lap than `written` tells is being overwritten.

`events-<pid>.texts` is a magic of 8 bytes, then each text once, when it is first met: its number and its length in
bytes as 32-bit integers, then UTF-8, filled up to a multiple of 8. The number is written last. Records name texts by
number, so they may be kept in a ring while the texts stay. Beside a ring the file has two halves of 8 bytes a slot and
8 more, each as above: when one is full the other, older one is overwritten, and a text that is met again is written
again under its number.

`step` is the number of the engine step, counted from 0 in the core by calls of `schedule`: -1 where there is none. The
number is put on the scheduler's output, with which it comes to a worker, and on the future of the step's result, so the
core's and the workers' spans of a step name it by identity. A batch that a worker makes itself, to warm up or to keep
step with other engines, is none of the core's steps and has -1. In the front end, and in the core's output thread,
`step` is instead the key of an output message: its `timestamp` in nanoseconds, which travels with it; the `MESSAGE`
list in the core's file says which step made it.

Schema 1, with texts among the records, is read too (`tracing.events.schemaone`).
"""

from __future__ import annotations

import struct

import numpy as np

SCHEMA = 2
MAGIC = b"ESEVENT1"
TEXTS_MAGIC = b"ESTEXTS1"
TEXT = struct.Struct("<II")  # a text's number and length
TEXT_ALIGNMENT = 8
TEXT_BYTES_PER_SLOT = 8  # of each half of the texts beside a ring
RECORD = np.dtype(
    [
        ("start", "<i8"),
        ("end", "<i8"),
        ("step", "<i8"),
        ("value", "<i8"),
        ("thread", "<u4"),
        ("request", "<u4"),
        ("extra", "<u4"),
        ("site", "<u2"),
        ("kind", "<u2"),
    ]
)
HEADER = np.dtype(
    [("magic", "S8"), ("schema", "<i8"), ("pid", "<i8"), ("written", "<i8"), ("dropped", "<i8"), ("ring", "<i8")]
)
PAYLOAD_BYTES = 44  # of a MORE record

SPAN, RAISED, LIST, MORE = 1, 2, 3, 4  # in the low byte of `kind`

# List codes, and what their integers are.
BATCH = 1  # (request, tokens scheduled) pairs of a step; in the core
# The fields of `tracing.events.step.Step` from `prefill_requests` on, the KV cache's blocks and, in later traces, why
# requests were held back and the limits of a step, then the blocks cached and evicted (`tracing.hooks.scheduling`); in
# the core.
COUNTS = 2
MESSAGE = 3  # key: the timestamp of an output message; (client, outputs); in the core
RENAMED = 4  # (internal request id, the id that the caller gave) as texts; in the front end
STOPPED = 6  # (internal request id) as text, `step` the message's key: the front end ended it at a stop string
CHILD = 5  # (internal id of a child of a request with n > 1, its parent's internal id); in the front end

# A piece of a step's work on the device, in a worker: when it began and ended, and when the host had launched all of
# it, each as low and high half of nanoseconds of CLOCK_MONOTONIC, and by how many nanoseconds begin and end may be off.
# A step has one for its forward pass and one for its sampling, a dummy batch one, of step -1. Work that is shorter than
# the calls that launch it appears as long as these: the device was busy from begin to end at most, and from the last
# launch to the end at least.
DEVICE = 7
UNTIMED = "device time"  # begins what a process that has a device but cannot time it says is missing

# `value` of a span of a coroutine or an async generator: why it ended.
SUSPENDED, YIELDED, ENDED, CALLED = 0, 1, 2, 3

# (the caller's id of a request, its W3C `traceparent`) as texts, then whether that is vLLM's own span of the request,
# which is there once that has ended, or the header that came with it; in the front end
TRACED = 8

# A delay that was put into a device's queue (`tracing.events.delays`): the delayed site's code, the phase, and how many
# nanoseconds it takes there; in a worker.
DELAYED = 9

# What watching a call cost, of one call of 32 of each site: (the site's code, nanoseconds around its span).
COST = 10

LISTS = (BATCH, COUNTS, MESSAGE, RENAMED, CHILD, STOPPED, DEVICE, TRACED, DELAYED, COST)

# Marks beside the NVTX ranges (`tracing.hooks.ranges`): each is a list that begins with one of these words.
DOMAIN = "enginescope"
DETAILS, INSTANT, NUMBERS, PROCESS = "told", "instant", "list", "process"  # the words are in _nvtx.c too
RANGES = "no NVTX ranges"  # what a process that could not make them says of itself begins with
