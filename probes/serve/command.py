"""The command line that starts vLLM's own server: what was asked for, and what fits the model and the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from probes.engineplatform import CPU
from probes.errors import usage_error
from probes.machine import Machine, platform_text
from probes.memory.footprint import model_folder
from probes.memory.kvcache import kv_bytes_per_token
from probes.memory.modelconfig import model_config
from probes.metrics.endpoint import METRICS, Endpoint
from probes.programs import OWN_PYTHON

# Not `vllm serve`: it asks for a distribution named `vllm`, which the CPU build is not.
PROGRAM = "vllm.entrypoints.openai.api_server"
HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost", "::1")
GPU_UTIL = 0.8
KV_BYTES = 2**29
REQUESTS_AT_ONCE = 4  # of the full length, that the KV cache on CPU has room for at least
# Known by their names in config.json; any other is left to vLLM.
DTYPES = ("bfloat16", "float16", "float32")
Setting = str | int | float
Settings = dict[str, Setting]  # vLLM's arguments by name
OURS = {
    "model": "give it as MODEL (to probes.quick, as --model)",
    "host": "use --host",
    "port": "use --port",
    "api_key": "the checks send no key, and it would appear in the log",
    "hf_token": "export HF_TOKEN=… instead: it would stand in the log",
    "tensor_parallel_size": "use --gpus",
    "max_model_len": "use --max-len",
    "gpu_memory_utilization": "use --gpu-util",
}


@dataclass(frozen=True)
class ServeOptions:
    """What the user asked for; `gpu_util` is None where not said, `engine` holds vLLM's own arguments by name."""

    model: str
    port: int
    gpus: int
    max_len: int
    gpu_util: float | None
    engine: Mapping[str, str]
    host: str = HOST

    @property
    def asked_at(self) -> Endpoint:
        """Where the server answers on this machine."""
        return Endpoint("http", HOST if self.host in ("0.0.0.0", "::") else self.host, self.port, METRICS)


@dataclass(frozen=True)
class Command:
    """The words to start, the name the model is served under, and notes on what was chosen and why."""

    words: list[str]
    served_name: str
    notes: list[str]


def server_command(options: ServeOptions, machine: Machine, environ: Mapping[str, str] = os.environ) -> Command:
    """The command line for this model on this machine."""
    folder = Path(options.model)
    name = options.engine.get("served_model_name", folder.resolve().name if folder.is_dir() else options.model)
    served: Settings = {"model": options.model, "served_model_name": name, "host": options.host, "port": options.port}
    settings, notes = engine_settings(options, machine, environ)
    if options.host not in LOOPBACK:
        notes.append(f"--host {options.host}: whoever reaches this machine may use the server, as it asks for no key")
    return Command([*OWN_PYTHON, "-m", PROGRAM, *flags(served | settings)], name, notes)


def engine_settings(
    options: ServeOptions, machine: Machine, environ: Mapping[str, str] = os.environ
) -> tuple[Settings, list[str]]:
    """The engine's arguments for this model on this machine, and notes on what was chosen and why."""
    folder = model_folder(options.model)
    own = options.engine.get("dtype")
    dtype, why_dtype = (own, []) if own else choose_dtype(model_config(folder).dtype, machine)
    notes = [*_platform(machine, options.gpus), *why_dtype]
    settings: Settings = {"model": options.model, "tensor_parallel_size": options.gpus}
    settings |= {"max_model_len": options.max_len, "dtype": dtype}
    if on_gpu(machine):
        settings["gpu_memory_utilization"] = GPU_UTIL if options.gpu_util is None else options.gpu_util
    else:
        more, why = _on_cpu(options, folder, dtype, environ)
        settings |= more
        notes += why
    return settings | dict(options.engine), notes


def _platform(machine: Machine, gpus: int) -> list[str]:
    notes = [f"platform: {platform_text(machine)}"]
    if machine.platform_gpus and gpus > len(machine.engine_gpus):
        notes.append(f"--gpus {gpus} is more than that: vLLM is unlikely to start")
    return notes


def on_gpu(machine: Machine) -> bool:
    """Whether the engine will run on an accelerator, by the platform that vLLM takes here."""
    return machine.platform not in (None, CPU)


def choose_dtype(own: str | None, machine: Machine) -> tuple[str, list[str]]:
    """The model's own dtype, `own` by its config.json; float32 on a CPU that does not multiply bfloat16 in hardware.

    On such a CPU the default model read prompts 6 times slower in bfloat16 than in float32.
    """
    source = f"the model's own config.json says {own}" if own else "the model's config.json is not here or names none"
    if not on_gpu(machine) and not {"amx_bf16", "avx512_bf16"} & set(machine.cpu_flags):
        reason = "this CPU does not multiply bfloat16 in hardware and is several times slower in it"
        return "float32", [f"dtype float32: {source}, but {reason}" if own != "float32" else f"dtype float32: {source}"]
    dtype = own if own in DTYPES else "auto"
    return dtype, [f"dtype {dtype}: {source}" + ("" if dtype == own else "; vLLM chooses")]


def _on_cpu(
    options: ServeOptions, folder: Path | None, dtype: str, environ: Mapping[str, str]
) -> tuple[Settings, list[str]]:
    settings: Settings = {"enforce_eager": "true"}
    notes = ["on CPU: eager, no compilation (--engine enforce_eager=false to compile)"]
    if options.gpu_util is not None:
        notes.append("--gpu-util applies to GPUs only and is left out; here --engine kv_cache_memory_bytes=N counts")
    if "VLLM_CPU_KVCACHE_SPACE" in environ:
        notes.append(
            f"KV cache: VLLM_CPU_KVCACHE_SPACE={environ['VLLM_CPU_KVCACHE_SPACE']} (GiB), from the environment"
        )
    elif "kv_cache_memory_bytes" not in options.engine:
        token_bytes = (kv_bytes_per_token(folder, None, dtype) if folder else None) or 0
        kv_bytes = max(KV_BYTES, REQUESTS_AT_ONCE * options.max_len * token_bytes)
        settings["kv_cache_memory_bytes"] = kv_bytes
        notes.append(f"KV cache: {kv_bytes / 2**20:,.0f} MiB of main memory")
    return settings, notes


def flags(settings: Mapping[str, Setting]) -> list[str]:
    """vLLM's arguments as words.

    | setting                        | words                  |
    | ------------------------------ | ---------------------- |
    | `max_model_len`: 1024          | `--max-model-len 1024` |
    | `enforce_eager`: `true`        | `--enforce-eager`      |
    | `enable_prefix_caching`: `false` | `--no-enable-prefix-caching` |
    """
    words = []
    for name, value in settings.items():
        option, text = name.replace("_", "-"), str(value)
        if text.lower() in ("true", "false"):
            words.append(f"--{option}" if text.lower() == "true" else f"--no-{option}")
        else:
            words += [f"--{option}", text]
    return words


def engine_arguments(pairs: list[str]) -> dict[str, str]:
    """`KEY=VALUE` words by key; refused where an option of this command or a rule of it says the same."""
    arguments = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not re.fullmatch(r"[a-z]\w*", name):
            raise usage_error(f"--engine takes KEY=VALUE, not {pair!r}; for example --engine max_num_seqs=8")
        if name in OURS:
            raise usage_error(f"--engine {name} cannot be set: {OURS[name]}")
        arguments[name] = value
    return arguments
