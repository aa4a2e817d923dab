"""The batch client beside the plain `openai` async client and vLLM's own benchmark client, on a server without a model.

The server is pinned to one core, each client to another. A client is a process that lives through all rounds; in each
round all take their turn, in an order that turns too, so that a machine that slows down slows all of them. vLLM's
client can only stream. Added latency is what a client reports above what the server takes by its own clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
THINK_S = 0.005
INTERVAL_S = 0.005
PROMPT = "one two three four five six seven eight"


# --- the clients: each runs one round and says how many were answered, in how long, with which latencies ---


def ours(url: str, count: int, at_once: int, tokens: int, stream: bool) -> dict[str, Any]:
    from probes.batch.__main__ import address
    from probes.batch.driver import allow_files, drive
    from probes.batch.outcomes import Outcomes
    from probes.batch.progress import Progress
    from probes.batch.sending import Settings
    from probes.client.watch import Limits
    from probes.prompts.files import read

    allow_files(at_once + 64)
    where, _ = address(url, "completion")
    limits = Limits(10, 60, 60, 60)
    settings = Settings(where, "m", "completion", stream, tokens, at_once, None, "poisson", 0, limits, False)
    with tempfile.TemporaryDirectory() as folder:
        prompts, output = Path(folder) / "prompts.txt", Path(folder) / "out.jsonl"
        prompts.write_text(f"{PROMPT}\n" * count)
        outcomes = Outcomes(output, None)
        began = time.perf_counter()
        drive(settings, None, read(prompts), outcomes, Progress(count, 0))
        took_s = time.perf_counter() - began
        outcomes.close()
        records = [json.loads(line) for line in output.read_text().splitlines()]
    answered = [record for record in records if record["ok"] and record["completion_tokens"] == tokens]
    return {"ok": len(answered), "took_s": took_s, "latency_s": [record["latency_s"] for record in answered]}


def plain_openai(url: str, count: int, at_once: int, tokens: int, stream: bool) -> dict[str, Any]:
    from openai import AsyncOpenAI

    latency_s: list[float] = []

    async def one(client: AsyncOpenAI) -> None:
        began = time.perf_counter()
        request = {"model": "m", "prompt": PROMPT, "max_tokens": tokens}
        if stream:
            texts = []
            options = {"include_usage": True}
            async for chunk in await client.completions.create(**request, stream=True, stream_options=options):
                texts.extend(choice.text for choice in chunk.choices)
        else:
            texts = [choice.text for choice in (await client.completions.create(**request)).choices]
        if "".join(texts) == " token" * tokens:
            latency_s.append(time.perf_counter() - began)

    async def all_of_them() -> float:
        left = iter(range(count))
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

            async def worker() -> None:
                for _ in left:
                    await one(client)

            began = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(at_once)))
            return time.perf_counter() - began

    took_s = asyncio.run(all_of_them())
    return {"ok": len(latency_s), "took_s": took_s, "latency_s": latency_s}


def vllm_serve(url: str, count: int, at_once: int, tokens: int, stream: bool) -> dict[str, Any]:
    from vllm.benchmarks.serve import add_cli_args, main_async

    from probes.checkpoint import default_model

    parser = argparse.ArgumentParser()
    add_cli_args(parser)
    words = f"--backend openai --base-url {url} --endpoint /v1/completions --dataset-name random --disable-tqdm "
    words += f"--random-input-len 8 --random-output-len {tokens} --num-prompts {count} --max-concurrency {at_once} "
    words += "--ready-check-timeout-sec 0 --num-warmups 0 --percentile-metrics e2el --metric-percentiles 50,99"
    args = parser.parse_args([*words.split(), "--model", "m", "--tokenizer", str(default_model())])
    result = asyncio.run(main_async(args))
    return {"ok": result["completed"], "took_s": result["duration"], "p99_s": result["p99_e2el_ms"] / 1e3}


CLIENTS = {"ours": ours, "openai": plain_openai, "vllm.benchmarks.serve": vllm_serve}


def serve_rounds(name: str) -> None:
    """Be a client: rounds as JSON lines on stdin, what came of each on the real stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a client prints is not for us
    for line in sys.stdin:
        result = CLIENTS[name](**json.loads(line))
        if "latency_s" in result:
            times = sorted(result.pop("latency_s"))
            result["p99_s"] = times[min(len(times) - 1, int(0.99 * len(times)))] if times else float("nan")
        print(json.dumps(result), file=answers, flush=True)


# --- rounds ---


@contextmanager
def server(core: int, tokens: int) -> Iterator[str]:
    words = f"--cpu {core} --think-s {THINK_S} --tokens {tokens} --interval-s {INTERVAL_S}".split()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.probes.stub_server", *words], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def client(core: int, name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--client", name]
    pipe, log = subprocess.PIPE, Path(tempfile.gettempdir()) / f"bench-client-{name}.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_PLUGINS": ""}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment) as process,
    ):
        os.sched_setaffinity(process.pid, {core})
        try:
            yield process
        finally:
            process.kill()


def round_of(process: subprocess.Popen[str], **what: Any) -> dict[str, Any]:
    assert process.stdin and process.stdout
    print(json.dumps(what), file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a client ended; see {tempfile.gettempdir()}/bench-client-*.log")
    return json.loads(line)


def compare(args: argparse.Namespace, stream: bool, core_of_server: int, core_of_clients: int) -> None:
    names = [name for name in CLIENTS if stream or name != "vllm.benchmarks.serve"]
    ideal_s = THINK_S + (args.tokens - 1) * INTERVAL_S * stream
    rates: dict[str, list[float]] = {name: [] for name in names}
    added_ms: dict[str, list[float]] = {name: [] for name in names}
    with server(core_of_server, args.tokens) as url, ExitStack() as stack:
        running = {name: stack.enter_context(client(core_of_clients, name)) for name in names}
        count = args.streams if stream else args.requests
        what = {"url": url, "at_once": args.concurrency, "tokens": args.tokens, "stream": stream}
        for name in names:
            round_of(running[name], count=args.concurrency, **what)
        for number in range(args.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                result = round_of(running[name], count=count, **what)
                assert result["ok"] == count, f"{name}: {result}"
                rates[name].append(count / result["took_s"])
                added_ms[name].append(1e3 * (result["p99_s"] - ideal_s))
    tell(f"{'streams' if stream else 'no stream'}, {args.concurrency} at a time, {args.tokens} tokens", rates, added_ms)


def tell(title: str, rates: dict[str, list[float]], added_ms: dict[str, list[float]]) -> None:
    print(f"{title}: median over {len(rates['ours'])} rounds [lowest, highest]")
    for name, values in rates.items():
        ratio = [mine / other for mine, other in zip(rates["ours"], values, strict=True)]
        print(
            f"  {name:22} {spread(values, '7.0f')} requests/s   added P99 {spread(added_ms[name], '6.1f')} ms   "
            f"ours is {spread(ratio, '.2f')} times as fast"
        )


def spread(values: list[float], form: str) -> str:
    low, high = format(min(values), form).strip(), format(max(values), form).strip()
    return f"{statistics.median(values):{form}} [{low}, {high}]"


def many_streams(args: argparse.Namespace, core_of_server: int, core_of_clients: int) -> None:
    with server(core_of_server, args.tokens) as url, client(core_of_clients, "ours") as process:
        result = round_of(process, url=url, count=args.many * 2, at_once=args.many, tokens=args.tokens, stream=True)
    print(f"{args.many} streams at a time: {result['ok']} of {args.many * 2} whole, in {result['took_s']:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/client.py --rounds 9")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--requests", type=int, default=2560, help="a round, without streaming")
    parser.add_argument("--streams", type=int, default=1280, help="a round, with streaming")
    parser.add_argument("--many", type=int, default=2000, help="streams at a time, of ours alone")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--client", choices=tuple(CLIENTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        serve_rounds(args.client)
        return
    cores = sorted(os.sched_getaffinity(0))
    compare(args, False, cores[0], cores[-1])
    compare(args, True, cores[0], cores[-1])
    many_streams(args, cores[0], cores[-1])


if __name__ == "__main__":
    main()
