"""`python -m probes.batch`: many prompts through a running OpenAI-compatible server, a record for each on disk.

This module is the command; `sending` sends, `attempt` times one attempt, `outcomes` keeps records.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.errors import INCOMPLETE, INTERRUPTED, run_main, usage_error

if TYPE_CHECKING:
    from probes.batch.outcomes import Answered, Outcomes
    from probes.batch.progress import Progress
    from probes.batch.promptsfile import Prompt
    from probes.batch.record import Record
    from probes.batch.sending import Settings

KEY_VARIABLE = "OPENAI_API_KEY"
CONCURRENCY = 20
CONNECT_S = 10.0
SPARE_FILES = 64
POSITIVE = ("rate", "timeout", "connect_timeout", "first_token_timeout", "gap_timeout", "concurrency", "max_tokens")
PATHS = {"chat": "/chat/completions", "completion": "/completions"}
EPILOG = """examples:
  python -m probes.batch --base-url http://127.0.0.1:8000 --model M --input prompts.txt --output out.jsonl
  python -m probes.batch … --stream --concurrency 64       TTFT and ITL too
  python -m probes.batch … --stream --rate 5               five prompts a second on average, whatever the server does
  python -m probes.batch … --resume                        go on: what has no answer yet is sent
  python -m probes.report --input out.jsonl                what came of it

input: a text file with a prompt a line, or .jsonl with an object a line: "prompt" or "messages", "id" if you like, and
any parameter of the request. A record says when its prompt was to be sent, was sent and ended, in seconds; latency and
TTFT count from the first of these, retries and waiting included.

exit codes: 0 every prompt is answered, 3 some failed (each record says why), 2 bad usage, 1 the batch could not go on
(disk full), 130 Ctrl-C; after each of these --resume goes on. A kill loses no record, a power cut may lose the last.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m probes.batch",
        description="Send many prompts through a running OpenAI-compatible server and keep a record of each.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--base-url", required=True, metavar="URL", help="the server, with or without its /v1")
    made.add_argument("--model", required=True, metavar="NAME", help="the model's name on that server")
    made.add_argument("--input", required=True, type=Path, metavar="FILE", help="prompts: text lines, or .jsonl")
    made.add_argument("--output", required=True, type=Path, metavar="FILE", help="records, a JSON line a prompt")
    made.add_argument("--resume", action="store_true", help="keep the answers in --output, send all the rest")
    made.add_argument("--mode", choices=tuple(PATHS), default="chat", help="which endpoint (default chat)")
    made.add_argument("--stream", action="store_true", help="ask for a stream, and time its chunks")
    made.add_argument("--max-tokens", type=int, metavar="N", help="tokens to generate at most")
    made.add_argument(
        "--concurrency", type=int, metavar="N", help=f"prompts at a time (default {CONCURRENCY}; no bound with --rate)"
    )
    made.add_argument("--rate", type=float, metavar="R", help="prompts a second, answered or not (an open loop)")
    made.add_argument(
        "--arrivals", choices=("poisson", "constant"), default="poisson", help="how --rate spreads (default poisson)"
    )
    made.add_argument("--retries", type=int, default=2, metavar="N", help="further attempts where they may help")
    made.add_argument("--timeout", type=float, default=60.0, metavar="S", help="for an attempt in all (default 60)")
    made.add_argument("--connect-timeout", type=float, default=CONNECT_S, metavar="S", help="default 10")
    made.add_argument("--first-token-timeout", type=float, metavar="S", help="of a stream (default: as --timeout)")
    made.add_argument("--gap-timeout", type=float, metavar="S", help="between two tokens (default: as --timeout)")
    made.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"better in the environment, as {KEY_VARIABLE}: a shell keeps its history, and other users see command "
        "lines until we have started and hidden it",
    )
    return made


def main() -> int:
    """The command."""
    args = parser().parse_args()
    if args.api_key is not None:
        hide_key(args.api_key)
    key = os.environ.get(KEY_VARIABLE) or None
    if key and not (key.isascii() and key.isprintable()):
        raise usage_error(f"the key in {KEY_VARIABLE} (or --api-key) holds characters that no key has")
    settings = checked(args)
    from probes.batch.promptsfile import count

    total = count(args.input, settings.mode)
    allow_files((settings.concurrency or 2**16) + SPARE_FILES)
    return batch(args.input, args.output, args.resume, settings, key, total)


def hide_key(key: str) -> None:
    """Start again with the key in the environment: a command line is there for every user of the machine to see."""
    words = [word for word in sys.orig_argv if word != f"--api-key={key}"]
    if "--api-key" in words:
        at = words.index("--api-key")
        del words[at : at + 2]
    os.execve(sys.executable, [sys.executable, *words[1:]], {**os.environ, KEY_VARIABLE: key})


def checked(args: argparse.Namespace) -> Settings:
    """The command line as settings; what cannot be is refused."""
    from probes.batch.attempt import Limits
    from probes.batch.sending import Settings

    for name in POSITIVE:
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise usage_error(f"--{name.replace('_', '-')} must be more than 0, not {value:g}")
    if args.retries < 0:
        raise usage_error(f"--retries must be 0 or more, not {args.retries}")
    url, is_local = address(args.base_url, args.mode)
    return Settings(
        url=url,
        model=args.model,
        mode=args.mode,
        stream=args.stream,
        max_tokens=args.max_tokens,
        concurrency=args.concurrency or (None if args.rate else CONCURRENCY),
        rate=args.rate,
        arrivals=args.arrivals,
        retries=args.retries,
        limits=Limits(
            connect_s=args.connect_timeout,
            first_token_s=args.first_token_timeout or args.timeout,
            gap_s=args.gap_timeout or args.timeout,
            total_s=args.timeout,
        ),
        trust_env=not is_local,
    )


def address(base_url: str, mode: str) -> tuple[str, bool]:
    """Where requests go, and whether that is on this machine.

    | typed                    | chat goes to                                 |
    | ------------------------ | -------------------------------------------- |
    | `localhost:8000`         | `http://localhost:8000/v1/chat/completions`  |
    | `http://host:8000/v1/`   | `http://host:8000/v1/chat/completions`       |
    | `https://host/llm/v2`    | `https://host:443/llm/v2/chat/completions`   |
    """
    from urllib.parse import quote, urlsplit

    from probes.metrics.endpoint import API, endpoint

    at = endpoint(base_url)
    path = urlsplit(base_url if "://" in base_url else f"http://{base_url}").path.rstrip("/")
    path = quote(path.removesuffix(PATHS[mode]) or API, safe="/%:@")
    return f"{at.scheme}://{at.authority}{path}{PATHS[mode]}", at.is_local


def allow_files(wanted: int) -> None:
    """Let this process have as many connections as it may, up to `wanted`."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def batch(source: Path, output: Path, resume: bool, settings: Settings, key: str | None, total: int) -> int:
    """Send what has no answer yet, and say what came of it."""
    from probes.batch.outcomes import Outcomes, Shared
    from probes.batch.progress import Progress

    outcomes = Outcomes(output, key)
    try:
        if not resume and not outcomes.is_empty:
            raise usage_error(f"{output} is there already: go on with --resume, or name another")
        answered = outcomes.keep_answers(Shared(settings.mode, settings.model, settings.stream))
        progress = Progress(total, answered.count)
        whole = drive(settings, key, unanswered(source, settings.mode, answered), outcomes, progress)
    finally:
        outcomes.close()
    print(f"{progress.summary()}\nWrote {output}; python -m probes.report --input {output}")
    if not whole:
        print("interrupted; go on with --resume", file=sys.stderr)
        return INTERRUPTED
    return INCOMPLETE if progress.failed else 0


def unanswered(source: Path, mode: str, answered: Answered) -> Iterator[Prompt]:
    """The prompts that are still to be sent."""
    from probes.batch.promptsfile import read

    return (prompt for prompt in read(source, mode) if not answered.has(prompt.line, prompt.crc32))


def drive(
    settings: Settings, key: str | None, prompts: Iterator[Prompt], outcomes: Outcomes, progress: Progress
) -> bool:
    """Run the event loop to the end of the batch; whether it got there, or was interrupted."""
    import asyncio
    import signal

    from probes.batch.sending import run

    def settle(record: Record) -> None:
        outcomes.write(record)
        progress.count(record)

    async def guarded() -> bool:
        loop, work = asyncio.get_running_loop(), asyncio.create_task(run(settings, key, prompts, settle))

        def interrupt() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)  # the second time it ends us at once
            work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        with progress.live():
            await asyncio.wait((work,))
        if work.cancelled():
            return False
        work.result()
        return True

    with asyncio.Runner(loop_factory=quick_loop()) as runner:
        return runner.run(guarded())


def quick_loop() -> Callable[[], Any] | None:
    """uvloop where it is installed (vLLM brings it), which leaves more of a core to the streams; else asyncio's own."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    made: Callable[[], Any] = new_event_loop
    return made


if __name__ == "__main__":
    run_main(main)
