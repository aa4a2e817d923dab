"""What a node of a test's cluster runs: a start of a load run whose variants only keep time."""

from __future__ import annotations

from offline.load.elsewhere import GatheredStart, StartElsewhere, measured_start
from offline.variants import process


def measured_fake_start(job: StartElsewhere) -> GatheredStart:
    process.MODULES = dict.fromkeys(process.MODULES, "tests.offline.load.fakeserving")
    return measured_start(job)
