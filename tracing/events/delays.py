"""The delays that an engine is asked for: one record in a mapped file that all its processes look at.

`delays` lies in a standing folder. It asks for a delay of `length_ns` before each call of one site, in every process
that has it or, where `pid` is not 0, in that one alone, until `until_ns` of CLOCK_MONOTONIC: what asks renews that, and
where it dies the delays end by themselves. Nothing is delayed where no spans are written. A delay that was made is a
span of the site `delay`, with the delayed site's code as its value and the `phase` as its extra; one on the device is a
list instead (`layout.DELAYED`).
"""

from __future__ import annotations

import struct

FILE = "delays"
RECORD = struct.Struct("<qqqIHHI4x")  # until_ns, length_ns, switch_ns, phase, site, kind, pid
NO_SITE = 0xFFFF
NOTHING = RECORD.pack(0, 0, 0, 0, NO_SITE, 0, 0)
# What a delay does: it spins with the GIL, and gives it up every `switch_ns` as Python code would; sleeps with the GIL;
# or sleeps without it; or does not wait, and puts a kernel of that length into the device's queue.
SPINNING, HOLDING, RELEASING, ON_DEVICE = 1, 2, 3, 4
LEASE_NS = 2_000_000_000  # the longest `until_ns` from now
