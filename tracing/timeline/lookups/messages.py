"""The messages with outputs that the cores of a trace sent: which step sent each, and to which front end."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from tracing.timeline.lookups.rows import NONE, Rows, among


class SentMessages:
    """`messages` is the frame of a timeline; `arrived` has the `key` of each that came to a front end, and that one's
    process as `front`."""

    def __init__(self, messages: pd.DataFrame, arrived: pd.DataFrame) -> None:
        self._all, self._arrived = messages, arrived.drop_duplicates()
        self._channels: dict[tuple[int, int], tuple[Rows, Rows]] = {}

    @cached_property
    def _of_cores(self) -> dict[int, tuple[Rows, Rows]]:
        """By core: the steps that sent a message with outputs, and its key."""
        of_cores = {}
        for pid, rows in self._all.groupby("pid"):
            rows = rows[rows["outputs"] > 0].sort_values("step", kind="stable")
            of_cores[int(pid)] = (rows["step"].to_numpy(dtype=np.int64), rows["key"].to_numpy(dtype=np.int64))
        return of_cores

    def keys_of_steps(self, core_pid: int, steps: Rows, front_pid: int) -> Rows:
        """The keys of the messages that some steps sent to a front end."""
        steps_of_keys, keys = self.between(core_pid, front_pid)
        return keys[among(steps_of_keys, steps)]

    def between(self, core_pid: int, front_pid: int) -> tuple[Rows, Rows]:
        """By step: the steps that sent a message to a front end, and its key."""
        if (core_pid, front_pid) not in self._channels:
            steps, keys = self._of_cores.get(core_pid, (NONE, NONE))
            ours = np.array([self._receivers.get(key, front_pid) == front_pid for key in keys.tolist()], dtype=bool)
            self._channels[core_pid, front_pid] = (steps[ours], keys[ours])
        return self._channels[core_pid, front_pid]

    def sender(self, core_pid: int, front_pid: int, keys: Rows) -> Rows:
        """The step that sent each of some messages to a front end; -1 where none of these did."""
        steps, sent = self.between(core_pid, front_pid)
        order = np.argsort(sent, kind="stable")
        place = np.minimum(np.searchsorted(sent[order], keys), len(sent) - 1)
        return np.where(sent[order][place] == keys, steps[order][place], -1) if len(sent) else np.full(len(keys), -1)

    @cached_property
    def _receivers(self) -> dict[int, int]:
        """By key the front end that a message went to, where any message of its client was seen to arrive."""
        messages = self._all.merge(self._arrived, on="key", how="left")
        fronts = messages.dropna(subset="front").groupby(["pid", "client"])["front"].agg(lambda pids: pids.mode()[0])
        known = messages.drop(columns="front").drop_duplicates().merge(fronts.reset_index(), on=["pid", "client"])
        return dict(zip(known["key"].tolist(), known["front"].astype(int).tolist(), strict=True))

    @cached_property
    def _steps_by_key(self) -> dict[int, dict[int, int]]:
        return {pid: dict(zip(k.tolist(), s.tolist(), strict=True)) for pid, (s, k) in self._of_cores.items()}

    def step_of_key(self, core_pid: int) -> dict[int, int]:
        """Of a core's messages by key, the step that sent each."""
        return self._steps_by_key.get(core_pid, {})
