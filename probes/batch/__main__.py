"""`python -m probes.batch`: many prompts through a running OpenAI-compatible server, a record for each on disk.

This module is the command; `driver` runs it, `sending` sends by `probes.client`, `outcomes` keeps the records.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from probes.arguments import CommandParser
from probes.errors import run_main, terminable, usage_error

if TYPE_CHECKING:
    from probes.batch.sending import Settings

KEY_VARIABLE = "OPENAI_API_KEY"
CONCURRENCY = 20
CONNECT_S = 10.0
TIMES = ("timeout", "connect_timeout", "first_token_timeout", "gap_timeout")
POSITIVE = ("rate", *TIMES, "concurrency", "max_tokens", "top_p", "repeat")
PATHS = {"chat": "/chat/completions", "completion": "/completions"}
EPILOG = """examples:
  python -m probes.batch --base-url http://127.0.0.1:8000 --model M --input prompts.txt --output out.jsonl
  python -m probes.batch … --stream --concurrency 64       TTFT and ITL too
  python -m probes.batch … --stream --rate 5               five prompts a second on average, whatever the server does
  python -m probes.batch … --resume                        continue: prompts without an answer are sent
  python -m probes.batch … --temperature 0 --repeat 3      all prompts, three times over
  python -m probes.report out.jsonl                        the figures

input, by its suffix: .txt, a prompt a line; .jsonl, an object a line; .json, an array; .csv or .tsv with a column
"prompt" (or "instruction" and "input"). An object has "prompt" or "messages", with "id" and parameters of the request
if you like, or is an entry of ShareGPT ("conversations", of which the first human turn is sent), of Alpaca
("instruction", "input"), or of OpenAI's batch format ("custom_id", "body", of which the model is --model).

An --output in results/batch (make that folder first) is listed by results/README.md, the index that each run of
offline.sweep, offline.load and offline.baseline writes again.

A record says when its prompt was to be sent, was sent and ended, in seconds; latency and TTFT count from the first of
these, retries and waiting included.

exit codes: 0 every prompt is answered, 3 some failed (each record says why), 2 bad usage, 1 the batch had to stop (disk
full), 130 Ctrl-C or SIGTERM; --resume continues after each of these. A kill loses no record, a power cut may lose the
last.
"""


def command_line() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m probes.batch",
        description="Send many prompts through a running OpenAI-compatible server and keep a record of each.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--base-url", required=True, metavar="URL", help="the server, with or without its /v1")
    parser.add_argument("--model", required=True, metavar="NAME", help="the model's name on that server")
    parser.add_argument("--input", required=True, type=Path, metavar="FILE", help="prompts: .txt, .jsonl, .json, .csv")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="records, a JSON line a prompt")
    parser.add_argument("--resume", action="store_true", help="keep the answers in --output, send all the rest")
    parser.add_argument("--mode", choices=tuple(PATHS), default="chat", help="which endpoint (default chat)")
    parser.add_argument("--stream", action="store_true", help="ask for a stream, and time its chunks")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="tokens to generate at most")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: the server's)")
    parser.add_argument("--top-p", type=float, metavar="P", help="of the likeliest tokens (default: the server's)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="send all prompts N times, pass by pass")
    parser.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help=f"prompts at a time (default {CONCURRENCY}; with --rate as many as it takes)",
    )
    parser.add_argument("--rate", type=float, metavar="R", help="prompts a second, answered or not (an open loop)")
    parser.add_argument(
        "--arrivals", choices=("poisson", "constant"), default="poisson", help="arrival spacing (default poisson)"
    )
    add_patience(parser)
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"better in the environment, as {KEY_VARIABLE}: a shell keeps its history, and other users see command "
        "lines until we have started and hidden it",
    )
    return parser


def add_patience(parser: argparse.ArgumentParser) -> None:
    """How often and how long an answer is waited for."""
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="further attempts where they may help")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="for an attempt in all (default 60)")
    parser.add_argument("--connect-timeout", type=float, default=CONNECT_S, metavar="S", help="default 10")
    parser.add_argument("--first-token-timeout", type=float, metavar="S", help="of a stream (default: as --timeout)")
    parser.add_argument("--gap-timeout", type=float, metavar="S", help="between two tokens (default: as --timeout)")


def main() -> int:
    """The command."""
    args = command_line().parse_args()
    if args.api_key is not None:
        hide_key(args.api_key)
    key = os.environ.get(KEY_VARIABLE) or None
    if key and not (key.isascii() and key.isprintable()):
        raise usage_error(f"the key in {KEY_VARIABLE} (or --api-key) holds characters that no key has")
    settings = checked(args)
    from probes.batch.driver import batch

    with terminable():
        return batch(args.input, args.output, args.resume, settings, key, args.repeat)


def hide_key(key: str) -> None:
    """Start again with the key in the environment: a command line is there for every user of the machine to see."""
    words = [word for word in sys.orig_argv if word != f"--api-key={key}"]
    if "--api-key" in words:
        at = words.index("--api-key")
        del words[at : at + 2]
    os.execve(sys.executable, [sys.executable, *words[1:]], {**os.environ, KEY_VARIABLE: key})


def checked(args: argparse.Namespace) -> Settings:
    """The command line as settings; what cannot be is refused."""
    from probes.batch.sending import Settings
    from probes.client.watch import Limits

    for name in POSITIVE:
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise usage_error(f"--{name.replace('_', '-')} must be more than 0, not {value:g}")
    if args.temperature is not None and not 0 <= args.temperature < float("inf"):
        raise usage_error(f"--temperature must be 0 or more, not {args.temperature:g}")
    if args.top_p is not None and args.top_p > 1:
        raise usage_error(f"--top-p must be at most 1, not {args.top_p:g}")
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
        temperature=args.temperature,
        top_p=args.top_p,
    )


def address(base_url: str, mode: str) -> tuple[str, bool]:
    """Where requests go, and whether that is on this machine.

    | typed                    | chat goes to                                 |
    | ------------------------ | -------------------------------------------- |
    | `localhost:8000`         | `http://localhost:8000/v1/chat/completions`  |
    | `http://host:8000/v1/`   | `http://host:8000/v1/chat/completions`       |
    | `https://host/llm/v2`    | `https://host:443/llm/v2/chat/completions`   |
    """
    from probes.metrics.endpoint import API, endpoint

    at = endpoint(base_url)
    path = urlsplit(base_url if "://" in base_url else f"http://{base_url}").path.rstrip("/")
    path = quote(path.removesuffix(PATHS[mode]) or API, safe="/%:@")
    return f"{at.scheme}://{at.authority}{path}{PATHS[mode]}", at.is_local


if __name__ == "__main__":
    run_main(main)
