"""The pipes between two processes, closed once whatever interrupts it."""

from __future__ import annotations

import os

import pytest

from probes.processes.dialogue import Dialogue


def test_ctrl_c_while_it_hangs_up_closes_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def close_and_interrupt(fd: int) -> None:
        close(fd)
        raise KeyboardInterrupt

    dialogue = Dialogue()
    dialogue.close_far_ends()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "close", close_and_interrupt)
        dialogue.hang_up()
    dialogue.close()
    dialogue.close()
