"""`python -m offline.load --on ray` with variants that only keep time, on all nodes."""

from __future__ import annotations

from offline.load import elsewhere
from offline.load.__main__ import main
from probes.errors import run_main
from tests.offline.cluster.fakenode import measured_fake_start

if __name__ == "__main__":
    elsewhere.measured_start = measured_fake_start
    run_main(main)
