"""`python -m offline.load` with variants that only keep time: for what the command itself does, in seconds."""

from __future__ import annotations

import os

from offline.load import levels, preparation
from offline.load.__main__ import main
from offline.variants import process
from offline.variants.cards import Card
from probes.errors import run_main

if __name__ == "__main__":
    process.MODULES = dict.fromkeys(process.MODULES, "tests.offline.load.fakeserving")
    if names := os.environ.get("FAKE_CARDS"):
        cards = tuple(Card(name, {"CUDA_VISIBLE_DEVICES": name}) for name in names.split(","))
        preparation.run_cards = lambda *_: cards
    levels.SLACK_S = float(os.environ.get("FAKE_SLACK_S", levels.SLACK_S))
    run_main(main)
