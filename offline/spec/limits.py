"""What a plan knows before any engine starts: requests that the model cannot hold, values that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from offline.spec.model import text_config
from offline.spec.spec import Spec
from probes.engineplatform import CPU
from probes.errors import usage_error
from probes.machine import Machine

CPU_BLOCK = 32  # what vLLM's attention backend for CPUs asks of a block size (`CPU_ATTN: [MultipleOf(32)]`)
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length")


def refuse_too_long(spec: Spec, model: Path | str) -> None:
    """Refuse requests longer than a model, or than `max_model_len` where that is asked for."""
    longest = max(spec.input_len) + max(spec.output_len)
    words = f"--input-len {max(spec.input_len)} and --output-len {max(spec.output_len)} need {longest} positions"
    lengths = [value for value in spec.engine.get("max_model_len", []) if isinstance(value, int)]
    if lengths and 0 < min(lengths) < longest:
        raise usage_error(f"{words}, --engine max_model_len={min(lengths)} gives fewer")
    positions = None if "hf_overrides" in spec.engine else model_positions(model)
    if positions is not None and longest > positions:
        raise usage_error(f"{words}, the model has {positions}")


def model_positions(model: Path | str) -> int | None:
    """The longest request of a model, by its configuration; None where that does not say."""
    config = text_config(model)
    known = [config[name] for name in POSITIONS if isinstance(config.get(name), int)]
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return None if "factor" in scaling or not known else max(known)  # how vLLM scales is its own matter


def remarks(spec: Spec) -> Iterator[str]:
    """What of a complete spec will make no difference, a sentence each."""
    for key, enough, why in (
        (
            "max_num_batched_tokens",
            max(spec.batch_size) * max(spec.input_len),
            "all prompts of a batch fit into one step",
        ),
        ("max_num_seqs", max(spec.batch_size), "all requests of a batch run at once"),
    ):
        values = [v for v in spec.engine.get(key, []) if isinstance(v, int) and v >= enough]
        if len(values) > 1:
            yield f"{key} {', '.join(map(str, values))} do the same work: {why} from {enough} on"
    for prefix in filter(None, spec.shared_prefix_len if "on" in spec.prefix_caching else ()):
        if blocks := [str(size) for size in spec.block_size if size > prefix]:
            yield f"the shared prefix of {prefix} tokens fills no block of {', '.join(blocks)}: nothing of it is cached"


def expected_refusals(spec: Spec, machine: Machine) -> Iterator[str]:
    """What vLLM will hardly start with on this machine, a sentence each."""
    odd = [str(size) for size in spec.block_size if size % CPU_BLOCK]
    if machine.platform == CPU and odd:
        yield f"block size {', '.join(odd)} will be refused: attention on CPU takes multiples of {CPU_BLOCK} only"
    gpus = len(machine.engine_gpus)
    many = [str(n) for n in spec.engine.get("tensor_parallel_size", []) if isinstance(n, int) and n > gpus]
    if machine.platform_gpus and not gpus:
        yield "no GPU is visible: vLLM will not start; python -m probes.doctor names the variable that hides them"
    elif machine.platform_gpus and many:
        yield f"tensor_parallel_size {', '.join(many)} is more than the {gpus} visible GPUs: vLLM is unlikely to start"
