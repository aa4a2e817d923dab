"""The batch client beside the plain `openai` async client and vLLM's own benchmark client, on a server without a model.

The server is pinned to one core, each client to another. A client is a process that lives through all rounds; in each
round all take their turn, in an order that turns too, so that a machine that slows down slows all of them. vLLM's
client can only stream. Added latency is what a client reports above what the server takes by its own clock.

The limit is a bare reader: it sends the same requests over the same connections and reads the same bytes, but parses
nothing. The server lets a stream of 32 tokens take 160 ms, so 256 at a time are at most 1,600 a second: take more, and
what bounds a client is its core. Beside requests a second stands what that core could carry, requests over the client's
own CPU time, and how long the client stood in the run queue while others had the core. Ours writes its records in that
time; of vLLM's it is the sending alone, without its data set and its metrics.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.processes.runqueue import queued_ns
from tests.bench.pacing.server import paced_server

ROOT = Path(__file__).resolve().parents[2]
THINK_S = 0.005
INTERVAL_S = 0.005
PROMPT = "one two three four five six seven eight"


# --- the clients: each runs one round and says how many were answered, in which time and CPU time, how late ---


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
        began, cpu_s = time.perf_counter(), time.process_time()
        drive(settings, None, read(prompts), outcomes, Progress(count, 0))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        outcomes.close()
        records = [json.loads(line) for line in output.read_text().splitlines()]
    answered = [record for record in records if record["ok"] and record["completion_tokens"] == tokens]
    latency_s = [record["latency_s"] for record in answered]
    return {"ok": len(answered), "took_s": took_s, "cpu_s": cpu_s, "latency_s": latency_s}


class BareConnection(asyncio.Protocol):
    """Sends `request` again and again, as long as `left` has turns; notes when and how long each answer came."""

    def __init__(self, request: bytes, end: bytes, left: Iterator[int], latency_s: list[float]) -> None:
        self.request, self.end, self.left, self.latency_s = request, end, left, latency_s
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        if next(self.left, None) is None:
            self.transport.close()
            self.over.set_result(None)
            return
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if data.endswith(self.end):
            self.latency_s.append(time.perf_counter() - self.began)
            self.ask()


def bare_reader(url: str, count: int, at_once: int, tokens: int, stream: bool) -> dict[str, Any]:
    from probes.client.loops import quick_loop

    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "m", "prompt": PROMPT, "max_tokens": tokens, "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    request, end = head.encode() + body, b"0\r\n\r\n" if stream else b"}}"
    latency_s: list[float] = []

    async def all_of_them() -> None:
        left, loop = iter(range(count)), asyncio.get_running_loop()
        pairs = [
            await loop.create_connection(lambda: BareConnection(request, end, left, latency_s), host, int(port))
            for _ in range(at_once)
        ]
        await asyncio.gather(*(connection.over for _, connection in pairs))

    began, cpu_s = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=quick_loop()) as runner:
        runner.run(all_of_them())
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    return {"ok": len(latency_s), "took_s": took_s, "cpu_s": cpu_s, "latency_s": latency_s}


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

    cpu_s = time.process_time()
    took_s = asyncio.run(all_of_them())
    return {"ok": len(latency_s), "took_s": took_s, "cpu_s": time.process_time() - cpu_s, "latency_s": latency_s}


def vllm_serve(url: str, count: int, at_once: int, tokens: int, stream: bool) -> dict[str, Any]:
    from vllm.benchmarks import serve

    from probes.checkpoint import default_model

    cpu_s: list[float] = []  # when it begins to send, and when all has come

    def marked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            cpu_s.append(time.process_time())
            return function(*args, **kwargs)

        return call

    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    words = f"--backend openai --base-url {url} --endpoint /v1/completions --dataset-name random --disable-tqdm "
    words += f"--random-input-len 8 --random-output-len {tokens} --num-prompts {count} --max-concurrency {at_once} "
    words += "--ready-check-timeout-sec 0 --num-warmups 0 --percentile-metrics e2el --metric-percentiles 50,99"
    args = parser.parse_args([*words.split(), "--model", "m", "--tokenizer", str(default_model())])
    with (
        mock.patch.object(serve, "benchmark", marked(serve.benchmark)),
        mock.patch.object(serve, "calculate_metrics", marked(serve.calculate_metrics)),
    ):
        result = asyncio.run(serve.main_async(args))
    times = {"took_s": result["duration"], "cpu_s": cpu_s[1] - cpu_s[0], "p99_s": result["p99_e2el_ms"] / 1e3}
    return {"ok": result["completed"], **times}


CLIENTS = {"ours": ours, "bare reader": bare_reader, "openai": plain_openai, "vllm.benchmarks.serve": vllm_serve}


def serve_rounds(name: str) -> None:
    """Be a client: rounds as JSON lines on stdin, what came of each on the real stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a client prints is not for us
    for line in sys.stdin:
        before_ns = queued_ns()
        result = CLIENTS[name](**json.loads(line))
        result["queued_s"] = (queued_ns() - before_ns) / 1e9
        if "latency_s" in result:
            times = sorted(result.pop("latency_s"))
            result["p99_s"] = times[min(len(times) - 1, int(0.99 * len(times)))] if times else float("nan")
        print(json.dumps(result), file=answers, flush=True)


# --- rounds ---


@contextmanager
def client(core: int, name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--client", name]
    pipe, log = subprocess.PIPE, Path(tempfile.gettempdir()) / f"bench-client-{name.replace(' ', '-')}.log"
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
    names = [name for name in args.clients if stream or name != "vllm.benchmarks.serve"]
    ideal_s = THINK_S + (args.tokens - 1) * INTERVAL_S * stream
    rates: dict[str, list[float]] = {name: [] for name in names}
    carried: dict[str, list[float]] = {name: [] for name in names}
    added_ms: dict[str, list[float]] = {name: [] for name in names}
    queued: dict[str, list[float]] = {name: [] for name in names}
    with paced_server(THINK_S, args.tokens, INTERVAL_S, core_of_server) as url, ExitStack() as stack:
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
                carried[name].append(count / result["cpu_s"])
                added_ms[name].append(1e3 * (result["p99_s"] - ideal_s))
                queued[name].append(result["queued_s"] / result["took_s"])
    title = f"{'streams' if stream else 'no stream'}, {args.concurrency} at a time, {args.tokens} tokens"
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{title}: median over {args.rounds} rounds [lowest, highest]; the machine's load was {load}")
    for name in names:
        print(f"  {name:22} {spread(rates[name], '7.0f')} requests/s   added P99 {spread(added_ms[name], '6.1f')} ms")
        print(
            f"  {'':22} {spread(carried[name], '7.0f')} requests per second of the client's CPU   "
            f"ours carries {spread(ratios(carried['ours'], carried[name]), '.2f')} times as much, "
            f"is {spread(ratios(rates['ours'], rates[name]), '.2f')} times as fast   "
            f"stood in the run queue for {spread(queued[name], '.0%')} of the time"
        )


def ratios(mine: list[float], others: list[float]) -> list[float]:
    return [own / other for own, other in zip(mine, others, strict=True)]


def spread(values: list[float], form: str) -> str:
    low, high = format(min(values), form).strip(), format(max(values), form).strip()
    return f"{statistics.median(values):{form}} [{low}, {high}]"


def many_streams(args: argparse.Namespace, core_of_server: int, core_of_clients: int) -> None:
    with (
        paced_server(THINK_S, args.tokens, INTERVAL_S, core_of_server) as url,
        client(core_of_clients, "ours") as process,
    ):
        result = round_of(process, url=url, count=args.many * 2, at_once=args.many, tokens=args.tokens, stream=True)
    print(f"{args.many} streams at a time: {result['ok']} of {args.many * 2} whole, in {result['took_s']:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/client.py --rounds 9")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=1024, help="streams or requests at a time")
    parser.add_argument("--requests", type=int, default=2560, help="a round, without streaming")
    parser.add_argument("--streams", type=int, default=8192, help="a round, with streaming")
    parser.add_argument("--many", type=int, default=2000, help="streams at a time, of ours alone")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--clients", nargs="+", choices=tuple(CLIENTS), default=list(CLIENTS), help="ours among them")
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
