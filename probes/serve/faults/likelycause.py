"""The likely cause of a log's errors by the table of causes, in vLLM's own options or in those of `probes.serve`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from probes.serve.faults.causes.faultcause import FaultCause
from probes.serve.faults.causes.table import CAUSES

OURS = {
    "--max-model-len": "--max-len",
    "--gpu-memory-utilization": "--gpu-util",
    "--tensor-parallel-size": "--gpus",
}
# vLLM's options with a value are written `--name=value` in the table, those of other programs with a space.
OPTION = re.compile(r"(?<![\w-])--(?!help=)([a-z][a-z-]*)=(?=\S)")
SWITCHES = (
    "--trust-remote-code",
    "--enforce-eager",
    "--disable-custom-all-reduce",
    "--enable-expert-parallel",
    "--enable-chunked-prefill",
    "--enable-lora",
)


@dataclass(frozen=True)
class LikelyCause:
    """What the errors likely mean, what to do, and the line that says so."""

    cause: str
    remedy: str
    line: str


def likely_cause(root: str | None, lines: Iterable[str], words: Mapping[str, str | int]) -> LikelyCause | None:
    """The likely cause: of the root's line, else of the first that has one; a general cause only where no other speaks.

    What is general (NCCL failed, a process was killed) follows from many faults, so that it counts for the root, or
    where nothing else says why.
    """
    ordered = [root, *lines] if root else list(lines)
    for line in ordered:
        if entry := _look_up(line, general=False):
            return _filled(entry, line, words)
    for line in ordered[:1] if root else ordered:
        if entry := _look_up(line, general=True):
            return _filled(entry, line, words)
    return None


def in_our_options(text: str) -> str:
    """A text with vLLM's options as `probes.serve` takes them."""
    for theirs, ours in OURS.items():
        text = text.replace(theirs, ours)
    text = OPTION.sub(lambda match: f"--engine {match[1].replace('-', '_')}=", text)
    for switch in SWITCHES:
        text = re.sub(rf"(?<![\w-]){switch}(?![\w-])", f"--engine {switch[2:].replace('-', '_')}=true", text)
    return text


def _look_up(line: str, general: bool) -> tuple[FaultCause, re.Match[str]] | None:
    for cause in CAUSES:
        if cause.general == general and (match := re.search(cause.pattern, line)):
            return cause, match
    return None


def _filled(entry: tuple[FaultCause, re.Match[str]], line: str, words: Mapping[str, str | int]) -> LikelyCause:
    cause, match = entry
    groups = (match[0], *(group or "" for group in match.groups()))
    return LikelyCause(cause.cause.format(*groups, **words), cause.remedy.format(*groups, **words), line)
