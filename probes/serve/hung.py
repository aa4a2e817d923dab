"""A start that came to no end: the phase it hung in, and what helps there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from probes.processes.log import bare
from probes.serve.faults.diagnosis import TOO_LATE, Diagnosis, diagnose
from probes.serve.process import NotReady

WHO_WAITS = "start it again and ask python -m tracing.hang PID meanwhile: it says who waits for whom"
# What the last line of the log is of; the phase; what helps. The first row that matches speaks.
BY_LINE = (
    (
        r"(?i)\bdownloading\b|Fetching \d+ files|\.(?:safetensors|bin): +\d+%",
        "the download of the model",
        "fetch it before (hf download …), from a mirror (export HF_ENDPOINT=…), or give a folder",
    ),
    (
        r"(?i)\b[nr]ccl\b|pynccl|custom_all_reduce|torch\.distributed|world_size=",
        "connecting the cards (NCCL)",
        "export NCCL_DEBUG=INFO and read the log again, NCCL_P2P_DISABLE=1 where cards cannot reach each other; "
        "--gpus 1 shows whether one card works",
    ),
)
# The phase by the lines of the log; what helps.
BY_PHASE = {
    "imports vLLM": "a slow disk, most often: an environment on this machine's own disk instead of a network's",
    "reads the model's configuration": "the hub does not answer: export HF_HUB_OFFLINE=1, or give a folder",
    "loads the weights": "a slow disk, most often: copy the model to a local one, or see that it is read with iostat",
    "measures the memory left": "kernels that are built for the first time: --engine enforce_eager=true needs fewer",
    "compiles": "the first compilation takes minutes, VLLM_CACHE_ROOT keeps it; --engine enforce_eager=true skips it",
    "captures CUDA graphs": "a smaller --engine max_num_seqs=N captures fewer; --engine enforce_eager=true none",
    "makes the KV cache, warms up": "a smaller --engine kv_cache_memory_bytes=N, where main memory is short and swaps",
}


def why_not_ready(ended: NotReady, log: Path, port: int, on_gpu: bool, limit_s: float) -> Diagnosis:
    """What a log and the end of its process tell, with the phase of a start that came to no end."""
    text = log.read_text(errors="replace")
    return with_phase(diagnose(text, ended, port, on_gpu), ended, text, limit_s)


def with_phase(diagnosis: Diagnosis, ended: NotReady, log: str, limit_s: float) -> Diagnosis:
    """The diagnosis of a time-out with the phase and its remedy; any other, or one with a known cause, as it is."""
    if ended.exit_code is not None or diagnosis.cause != TOO_LATE:
        return diagnosis
    phase, remedy = hung_in(ended.doing, log)
    cause = f"it hung in this phase: {phase}; for {limit_s:g} s its log had no new line"
    return replace(diagnosis, cause=cause, remedy=f"{remedy}; or a longer --timeout")


def hung_in(doing: str, log: str) -> tuple[str, str]:
    """The phase, more closely where the log's last line tells, and what helps there."""
    lines = [bare(line).strip() for line in re.split(r"[\r\n]+", log)]
    last = next((line for line in reversed(lines) if line), "")
    for pattern, phase, remedy in BY_LINE:
        if re.search(pattern, last):
            return phase, remedy
    return doing, BY_PHASE.get(doing, WHO_WAITS)
