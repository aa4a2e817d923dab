"""The same arrivals and requests through our client and through vLLM's own, on one real server: do the latencies agree?

Both send the same prompts at the same Poisson times, in rounds that take turns; prefix caching is off. A figure of a
round is its mean over requests; the interval is of the difference between the two clients' rounds (Student's t).

The server is vLLM's on the two-layer model, on all cores but the last, which the clients have: beside an engine that
spins on every core a client stands in the run queue. How long it did so all the same is printed beside each round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probes.checkpoint import two_layer_model
from probes.client.attempt import Attempt
from probes.client.client import Client
from probes.client.loops import quick_loop
from probes.client.watch import Limits
from probes.jsonform import encoded
from probes.processes.runqueue import queued_ns

FIGURES = ("TTFT, ms", "TPOT, ms", "normalized latency, ms/token")
LIMITS = Limits(connect_s=10, first_token_s=120, gap_s=120, total_s=120)
WORDS = ["time", "server", "request", "token", "model", "prompt", "batch", "cache"]


def schedule(count: int, rate: float, seed: int) -> list[tuple[float, str]]:
    """When each prompt is due, in seconds, and its text; the same for the same seed."""
    chance, due_s, prompts = random.Random(seed), 0.0, []
    for _ in range(count):
        prompts.append((due_s, " ".join(chance.choices(WORDS, k=16))))
        due_s += chance.expovariate(rate)
    return prompts


def figures(ttft_s: float, latency_s: float, tokens: int) -> tuple[float, float, float]:
    """TTFT, TPOT and normalized latency of a request, in ms."""
    return 1e3 * ttft_s, 1e3 * (latency_s - ttft_s) / (tokens - 1), 1e3 * latency_s / tokens


# --- the clients ---


def ours(url: str, prompts: list[tuple[float, str]], tokens: int) -> list[tuple[float, float, float]]:
    shared = {"model": "m", "max_tokens": tokens, "repetition_penalty": 1.0, "ignore_eos": True, "temperature": 0.0}
    shared |= {"stream": True, "return_token_ids": True, "stream_options": {"include_usage": True}}

    async def one(client: Client, due_s: float, text: str, began_s: float) -> Attempt:
        await asyncio.sleep(began_s + due_s - time.monotonic())
        attempt = Attempt()
        await attempt.run(client, encoded({**shared, "prompt": text}), True, LIMITS)
        return attempt

    async def all_of_them() -> list[Attempt]:
        with closing(Client(f"{url}/v1/completions", {}, False)) as client:
            began_s = time.monotonic()
            return await asyncio.gather(*(one(client, due_s, text, began_s) for due_s, text in prompts))

    with asyncio.Runner(loop_factory=quick_loop()) as runner:
        attempts = runner.run(all_of_them())
    assert all(each.complete and each.answer.completion_tokens == tokens for each in attempts), attempts[0].refused
    return [
        figures((each.stamps_ns[0] - each.sent_ns) / 1e9, (each.stamps_ns[-1] - each.sent_ns) / 1e9, tokens)
        for each in attempts
    ]


def vllms(url: str, prompts: list[tuple[float, str]], tokens: int) -> list[tuple[float, float, float]]:
    from vllm.benchmarks.datasets import SampleRequest
    from vllm.benchmarks.serve import TaskType, benchmark
    from vllm.tokenizers import get_tokenizer

    requests = [SampleRequest(text, 16, tokens, request_id=str(at), timestamp=at) for at, text in prompts]
    nothing: dict[str, Any] = dict.fromkeys(("logprobs", "max_concurrency", "lora_modules", "extra_headers"))
    with redirect_stdout(sys.stderr):
        result = asyncio.run(
            benchmark(
                task_type=TaskType.GENERATION, endpoint_type="openai", api_url=f"{url}/v1/completions", base_url=url,
                model_id="m", model_name="m", tokenizer=get_tokenizer(str(two_layer_model())), input_requests=requests,
                request_rate=float("inf"), burstiness=1.0, disable_tqdm=True, num_warmups=0, profile=False,
                selected_percentile_metrics=["ttft"], selected_percentiles=[50.0], ignore_eos=True,
                goodput_config_dict={}, extra_body={"temperature": 0.0, "return_token_ids": True},
                ready_check_timeout_sec=0, self_timed=True, **nothing,
            )
        )  # fmt: skip
    assert result["completed"] == len(prompts) and set(result["output_lens"]) == {tokens}, result["errors"]
    return [
        figures(ttft_s, latency_s, tokens)
        for ttft_s, latency_s in zip(result["ttfts"], result["latencies"], strict=True)
    ]


CLIENTS = {"ours": ours, "vllm.benchmarks.serve": vllms}

# --- rounds ---


@contextmanager
def server(port: int) -> Iterator[str]:
    """vLLM's server on the two-layer model, beside the last core, which is this process's from now on."""
    words = f"--host 127.0.0.1 --port {port} --served-model-name m --max-model-len 256 --no-enable-prefix-caching"
    words += " --load-format dummy"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(two_layer_model())]
    environment = {**os.environ, "VLLM_PLUGINS": "", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (
        Path(tempfile.gettempdir(), "bench-client-latency.log").open("w") as log,
        subprocess.Popen([*command, *words.split()], env=environment, stdout=log, stderr=log) as process,
    ):
        *others, last = sorted(os.sched_getaffinity(0))
        if others:
            os.sched_setaffinity(process.pid, others)
            os.sched_setaffinity(0, {last})
        try:
            while subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/health"]).returncode:
                if process.poll() is not None:
                    raise SystemExit(f"the server ended; see {log.name}")
                time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def compare(args: argparse.Namespace) -> dict[str, list[tuple[float, ...]]]:
    """The means of each round, a row a round, by client."""
    rounds: dict[str, list[tuple[float, ...]]] = {name: [] for name in CLIENTS}
    with nullcontext(args.url) if args.url else server(args.port) as url:
        for send in CLIENTS.values():
            send(url, schedule(4, args.rate, seed=0), args.tokens)
        for number in range(args.rounds):
            prompts = schedule(args.requests, args.rate, seed=number + 1)
            for name in sorted(CLIENTS, reverse=bool(number % 2)):
                before_ns = queued_ns()
                rows = CLIENTS[name](url, prompts, args.tokens)
                waited_s = (queued_ns() - before_ns) / 1e9
                rounds[name].append(tuple(statistics.fmean(column) for column in zip(*rows, strict=True)))
                what = {"client": name, "round": number, "load": os.getloadavg()[0], "waited_s": waited_s}
                print(json.dumps({**what, "ms": rounds[name][-1]}), flush=True)
    return rounds


def tell(rounds: dict[str, list[tuple[float, ...]]]) -> None:
    for at, figure in enumerate(FIGURES):
        mine, other = ([row[at] for row in rounds[name]] for name in CLIENTS)
        differences = [a - b for a, b in zip(mine, other, strict=True)]
        half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
        middle = statistics.fmean(differences)
        print(
            f"{figure:30} ours {statistics.fmean(mine):7.2f} [{min(mine):.2f}, {max(mine):.2f}]   "
            f"vllm.benchmarks.serve {statistics.fmean(other):7.2f} [{min(other):.2f}, {max(other):.2f}]   "
            f"difference {middle:+.2f} [{middle - half:+.2f}, {middle + half:+.2f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python tests/bench/client_latency.py")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=40, help="a round")
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--port", type=int, default=8019)
    parser.add_argument("--url", help="a server that runs already, in place of one that is started")
    tell(compare(parser.parse_args()))


if __name__ == "__main__":
    main()
