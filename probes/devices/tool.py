"""A driver's own program, asked once."""

from __future__ import annotations

import subprocess

TIMEOUT_S = 20


def ask(command: list[str]) -> tuple[str, str | None]:
    """What `command` prints, and why it failed; neither where there is no such program."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return "", None
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"{command[0]} gave no answer ({type(error).__name__})"
    if answer.returncode == 0:
        return answer.stdout.strip(), None
    # On stdout what a driver says comes first, before details; on stderr it comes last, after a traceback or a usage.
    words = [*answer.stdout.strip().splitlines()[:1], *answer.stderr.strip().splitlines()[-1:]]
    return "", words[0] if words else f"{command[0]} ended with code {answer.returncode}"
