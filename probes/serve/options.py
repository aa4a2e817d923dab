"""The options of a command line that starts an engine, and what of them cannot be."""

from __future__ import annotations

import argparse
from pathlib import Path

from probes.errors import usage_error


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """What a server and an `LLM` have in common."""
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="tensor parallel size (default 1)")
    parser.add_argument(
        "--max-len", type=int, default=1024, metavar="TOKENS", help="longest request, prompt and answer (default 1024)"
    )
    parser.add_argument(
        "--gpu-util", type=float, metavar="SHARE", help="share of each GPU's memory to use (default 0.8)"
    )
    parser.add_argument(
        "--timeout", type=float, default=180.0, metavar="S", help="seconds without a new line of its log (default 180)"
    )
    parser.add_argument(
        "--engine", action="append", default=[], metavar="KEY=VALUE", help="any engine argument of vLLM; repeatable"
    )


def check_engine_options(args: argparse.Namespace) -> None:
    """Refuse values that cannot be."""
    for name, value, least, most in (
        ("--gpus", args.gpus, 1, 4096),
        ("--max-len", args.max_len, 1, 2**31),
        ("--timeout", args.timeout, 1, 86400),
    ):
        if not least <= value <= most:
            raise usage_error(f"{name} must be from {least} to {most}, not {value:g}")
    if args.gpu_util is not None and not 0 < args.gpu_util <= 1:
        raise usage_error(f"--gpu-util is a share of a GPU's memory, above 0 and at most 1, not {args.gpu_util:g}")


def model_named(model: str | None) -> str | None:
    """The folder or the hub's name that was given; None for the default model."""
    folder = Path(model or "").expanduser()
    if model and model[0] in "./~" and not folder.is_dir():
        raise usage_error(
            f"{model} is not a folder; give a folder, ORG/NAME on the hub, or nothing for the default model"
        )
    return str(folder) if model and folder.is_dir() else model or None
