"""The processes of one engine on this machine: who they are by their titles, and which model they were started with.

vLLM titles its own (`VLLM::EngineCore`, `VLLM::Worker_TP0`); the front end is the Python process that started them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from probes.errors import EnginescopeError

TITLE = re.compile(r"\w+::((?:EngineCore|Worker|APIServer|DPCoordinator)\w*)")  # its prefix is a setting of vLLM's
ROLES = {"EngineCore": "core", "Worker": "worker", "APIServer": "front end", "DPCoordinator": "coordinator"}
FRONT_END, HELPER, STARTING = "front end", "helper", "starting"
VLLM_ROLES = ("core", "worker")  # one of them is in every group that is an engine with processes of its own
LIBRARY = "/vllm/"  # in the path of what a process with vLLM inside has mapped
SERVES = re.compile(r"\bserve\b|openai\.api_server")
PORT = 8000
INIT = 1  # the process that all others descend from
NO_ENGINE = f"process {INIT} is not an engine: all processes descend from it; name another, or none"


@dataclass(frozen=True)
class Member:
    """One process of an engine. `name` is its title; its command line is never shown, which may hold keys."""

    pid: int
    role: str
    name: str


@dataclass(frozen=True)
class LaunchOptions:
    """What the front end's command line says of the model and the server; None where it does not. `tensor_parallel` is
    over how many cards each engine splits the model."""

    model: str | None
    dtype: str | None
    port: int | None
    tensor_parallel: int = 1


def group_of(pid: int) -> list[Member]:
    """The engine that process `pid` belongs to, or has started, front end first."""
    try:
        root = _front_end(psutil.Process(pid))
        return [_member(each, root) for each in (root, *root.children(recursive=True)) if each.is_running()]
    except (psutil.NoSuchProcess, OverflowError):
        raise EnginescopeError(f"there is no process {pid}; ps -ef lists those that run") from None


def groups() -> list[list[Member]]:
    """Every engine on this machine that we can see."""
    cores = [each.pid for each in psutil.process_iter() if title(each).startswith("EngineCore")]
    by_root: dict[int, list[Member]] = {}
    for pid in cores:
        with suppress(EnginescopeError):  # it ended in between
            group = group_of(pid)
            by_root[group[0].pid] = group
    return [by_root[root] for root in sorted(by_root)]


def holds_engine(group: Sequence[Member]) -> bool:
    """Whether vLLM runs in one of these processes, or may: it is starting, or we may not look inside."""
    return any(member.role in VLLM_ROLES or _loads_vllm(member.pid) for member in group)


def no_vllm(pid: int | str) -> EnginescopeError:
    """What is said of a process in which, and below which, no vLLM runs."""
    return EnginescopeError(
        f"there is no vLLM in process {pid}, nor in one that it has started; try: ps -ef | grep VLLM"
    )


def runs_python(pid: int) -> bool:
    """Whether a process is one of Python; not where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return _is_python(psutil.Process(pid))
    return False


def _loads_vllm(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        if SERVES.search(" ".join(_cmdline(psutil.Process(pid)))):
            return True
    try:
        return LIBRARY in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except FileNotFoundError:  # it has ended
        return False
    except OSError:
        return True


def title(process: psutil.Process) -> str:
    """What vLLM called a process, without the prefix; empty where it is not vLLM's."""
    try:
        match = TITLE.match((process.cmdline() or [""])[0])
    except psutil.Error:
        return ""
    return match[1] if match else ""


def _front_end(process: psutil.Process) -> psutil.Process:
    """The front end of the engine that a process is part of, or of the one that it has started.

    Of an engine whose front end is gone, the topmost process. Of a process with no titled one around it, that process
    itself: vLLM may run inside. `EnginescopeError` where that cannot be, or where it has started several engines.
    """
    oldest = process
    for each in (process, *process.parents()):
        if title(each):
            oldest = each
        elif _is_python(each) and each in _starters(each):
            return each
    if not title(process) and (starters := _starters(process)):
        return _only(starters, process)
    if process.pid == INIT:
        raise EnginescopeError(NO_ENGINE)
    return oldest


def _starters(process: psutil.Process) -> set[psutil.Process]:
    """The front ends among a process and those that it has started: what stands next above vLLM's titled ones."""
    titled = [child for child in process.children(recursive=True) if title(child)]
    above = [next((each for each in child.parents() if not title(each) and _is_python(each)), None) for child in titled]
    return {each for each in above if each is not None}


def _only(starters: set[psutil.Process], process: psutil.Process) -> psutil.Process:
    if process.pid == INIT and process not in starters:
        raise EnginescopeError(NO_ENGINE)
    if len(starters) > 1 and process not in starters:
        pids = ", ".join(str(each.pid) for each in sorted(starters, key=lambda each: int(each.pid)))
        raise EnginescopeError(f"process {process.pid} has started {len(starters)} engines; name one of them: {pids}")
    return process if process in starters else next(iter(starters))


def _is_python(process: psutil.Process) -> bool:
    """By its program, or, where that takes the right to trace, by its command line."""
    try:
        path = process.exe()
    except psutil.Error:
        path = (_cmdline(process) or [""])[0]
    return Path(path).name.startswith("python")


def _member(process: psutil.Process, root: psutil.Process) -> Member:
    name = title(process) or _last_title(process)
    if name and not _is_fork(process, name):
        return Member(process.pid, ROLES[next(role for role in ROLES if name.startswith(role))], name)
    if process == root:
        return Member(process.pid, FRONT_END, _program(process))
    line = " ".join(_cmdline(process))
    return Member(process.pid, STARTING if "multiprocessing.spawn" in line else HELPER, _program(process))


def _is_fork(process: psutil.Process, name: str) -> bool:
    """Whether a process has its title from its parent, as what a worker forks to compile does until it has ended."""
    try:
        parent = process.parent()
    except psutil.Error:
        return False
    return parent is not None and title(parent).startswith(name)


def _last_title(process: psutil.Process) -> str:
    """What is left of the title of a process that has ended and was not waited for: its first 15 letters."""
    try:
        left = process.name().partition("::")[2] if process.status() == psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""
    name = next((role for role in ROLES if left and role.startswith(left)), left)
    return name if name.startswith(tuple(ROLES)) else ""


def _program(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "?"


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


# --- how it was started ---


def launch_options(group: Sequence[Member]) -> LaunchOptions:
    """What the command line of the group's front end says; relative paths are its own, where its folder may be read."""
    try:
        process = psutil.Process(group[0].pid)
        options = arguments(process.cmdline())
    except psutil.Error:
        return LaunchOptions(None, None, None)
    try:
        folder = Path(process.cwd()) / (options.model or "")
    except psutil.Error:
        return options
    return replace(options, model=str(folder)) if options.model and folder.is_dir() else options


def arguments(words: Sequence[str]) -> LaunchOptions:
    """Model, dtype, port and cards in a command line.

    | words                                          | model | port | cards |
    | ---------------------------------------------- | ----- | ---- | ----- |
    | `vllm serve ORG/M --dtype float32 -tp 2`       | ORG/M | 8000 | 2     |
    | `python -m vllm…api_server --model=M --port 1` | M     | 1    | 1     |
    | `python run.py`                                | -     | -    | 1     |
    """
    model, port = _option(words, "--model"), _number(_option(words, "--port"))
    serves = bool(SERVES.search(" ".join(words[:4])))
    if model is None and "serve" in words:
        after = words[words.index("serve") + 1 :]
        model = after[0] if after and not after[0].startswith("-") else None
    cards = _number(_option(words, "--tensor-parallel-size") or _option(words, "-tp"))
    return LaunchOptions(model, _option(words, "--dtype"), port or (PORT if serves else None), cards or 1)


def _option(words: Sequence[str], name: str) -> str | None:
    """The value of `--name value` or `--name=value`."""
    for at, word in enumerate(words):
        if word == name and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def listener(port: int) -> int | None:
    """The process that listens on a port; None where none does, or it is not ours to see."""
    try:
        open_ports = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    listening = [each for each in open_ports if each.status == psutil.CONN_LISTEN and each.laddr.port == port]
    return next((each.pid for each in listening if each.pid), None)
