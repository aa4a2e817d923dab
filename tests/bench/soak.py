"""An accelerated soak of the ring: a process writes as fast as it can, which is no engine and no day.

What a day would change has to come by counts then: laps of the ring, texts that turn over, records. Each minute tells
the memory, what was dropped and the cost of a record in CPU time. The first lap, in which the ring's file grows, is
written at a server's pace. In the end the process is killed, and its ring has to be there without a gap.

example: python tests/bench/soak.py --minutes 8 --table notes/tables/ring.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.hangs import in_place
from tests.tracing.attach.ringtrial import check
from tests.tracing.attach.standingprocess import ROOT, folder_of
from tracing.attach.moved import Moved
from tracing.events.file import read

RING_BYTES = 60 << 20
A_DAY = 24 * 3600 * 20_000  # records, at the rate that a ring of 60 s is made for
MIB = 1 << 20
# Prints for each block of spans: records written and dropped, CPU time of the block in ns, anonymous memory in KiB.
WRITER = """
import json, sys, time
from tracing.hooks import _recorder, recorder
BLOCK, PACED = 200_000, int(sys.argv[2])
recorder.begin(sys.argv[1], ["core"])
span, count = _recorder.span, 0
while True:
    begun_ns = time.thread_time_ns()
    for _ in range(BLOCK // 40):
        name = f"request {count}"
        for count in range(count, count + 40):
            span(1, 1, name, count, 0, count)
        count += 1
        if count < PACED and not count % 2000:
            time.sleep(0.02)
    took_ns = time.thread_time_ns() - begun_ns
    memory = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon"))
    print(json.dumps([*_recorder.counts(), took_ns / BLOCK, int(memory)]), flush=True)
"""


@dataclass(frozen=True)
class Block:
    """What the writer said of a block."""

    written: int
    dropped: int
    record_ns: float
    memory_kib: int


@dataclass(frozen=True)
class Minute:
    """What a minute's blocks say, and the size of the ring's files at its end."""

    blocks: Sequence[Block]
    file_bytes: int

    def row(self, number: int) -> str:
        last = self.blocks[-1]
        low, *_, high = statistics.quantiles([block.record_ns for block in self.blocks], n=20)
        middle = statistics.median(block.record_ns for block in self.blocks)
        laps = last.written * 48 // RING_BYTES
        cost = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
        memory = f"{last.memory_kib / 1024:.1f} | {self.file_bytes / MIB:.1f}"
        return f"| {number} | {last.written:,} | {laps:,} | {cost} | {memory} | {last.dropped} |"


def soak(folder: Path, minutes: int) -> Iterator[Minute]:
    """Let it write, and look at it each minute."""
    source = folder_of(folder, standby=False, ring_bytes=RING_BYTES)
    command = [sys.executable, "-c", WRITER, str(source), str(RING_BYTES // 48)]
    blocks: list[Block] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as writer:
        assert writer.stdout is not None
        lines = writer.stdout
        reading = threading.Thread(
            target=lambda: blocks.extend(Block(*json.loads(line)) for line in iter(lines.readline, ""))
        )
        reading.start()
        try:
            begun_s, seen = time.monotonic(), 0
            for number in range(minutes):
                time.sleep(max(0.0, begun_s + 60 * (number + 1) - time.monotonic()))
                mine, seen = blocks[seen:], len(blocks)
                yield Minute(mine, sum(path.stat().st_size for path in source.iterdir()))
        finally:
            writer.kill()
            reading.join()


def dump(source: Path, out: Path) -> int:
    """How many spans the ring holds; AssertionError where one is missing, or more than one is torn."""
    out.mkdir()
    problems = Moved(source, out).close()
    check(out, problems, None, 0)
    assert not problems, problems
    [path] = out.glob("events-*.bin")
    return len(read(path).spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=8)
    parser.add_argument("--table", type=Path, help="put the table in place of the first one there")
    args = parser.parse_args()
    head = "| minute | records | laps | ns of CPU a record | memory, MiB | files, MiB | dropped |"
    rows = [head, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        for number, minute in enumerate(soak(Path(scratch), args.minutes), 1):
            rows.append(minute.row(number))
            print(rows[-1], flush=True)
            written = minute.blocks[-1].written
        held = dump(Path(scratch, "standing"), Path(scratch, "dump"))
    print(f"{written:,} records are {24 * written / A_DAY:.1f} hours of 20,000 a second")
    print(f"after SIGKILL the ring holds {held:,} spans without a gap")
    if args.table:
        args.table.write_text(in_place(args.table.read_text(), "\n".join(rows)))


if __name__ == "__main__":
    main()
