"""Many prompts through the batch client: every one answered once, and in constant memory.

The server has no model and stays on one core, the client on another. Memory is the client's resident set, looked at
twice a second; the first tenth of the run is for its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from client import ROOT, server

TOKENS = 4


def drive(url: str, folder: Path, prompts: int, core: int) -> tuple[float, list[int]]:
    """Send the prompts; the seconds it took, and the client's bytes of memory over that time."""
    source = folder / "prompts.txt"
    with source.open("w") as file:
        file.writelines(f"prompt {number} of many\n" for number in range(prompts))
    command = [sys.executable, "-m", "probes.batch", "--base-url", url, "--model", "m", "--mode", "completion"]
    command += ["--input", str(source), "--output", str(folder / "out.jsonl"), "--max-tokens", str(TOKENS)]
    began, memory = time.monotonic(), []
    with subprocess.Popen(
        [*command, "--concurrency", "64"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as client:
        os.sched_setaffinity(client.pid, {core})
        process = psutil.Process(client.pid)
        while client.poll() is None:
            memory.append(process.memory_info().rss)
            time.sleep(0.5)
    assert client.returncode == 0, f"exit code {client.returncode}"
    return time.monotonic() - began, [each for each in memory if each]


def answered(path: Path) -> int:
    """How many prompts have their one good answer."""
    ids = set()
    with path.open() as file:
        for line in file:
            record = json.loads(line)
            assert record["ok"] and record["id"] not in ids, record
            ids.add(record["id"])
    return len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python tests/bench/batch.py --prompts 1000000"
    )
    parser.add_argument("--prompts", type=int, default=100_000)
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch, server(cores[0], TOKENS) as url:
        took_s, memory = drive(url, Path(scratch), args.prompts, cores[-1])
        whole = answered(Path(scratch, "out.jsonl"))
    settled = [each / 2**20 for each in memory[len(memory) // 10 :]]
    a_second = args.prompts / took_s
    print(f"{whole:,} of {args.prompts:,} prompts answered once, in {took_s:.0f} s ({a_second:,.0f} a second)")
    print(f"MiB: {settled[0]:.1f} after a tenth of it, {settled[-1]:.1f} at the end, {max(settled):.1f} at most")


if __name__ == "__main__":
    main()
