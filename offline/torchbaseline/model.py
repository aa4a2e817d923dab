"""The adapter to torch and transformers: a causal model that runs static batches with a KV cache of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import Cache, CacheLayerMixin

from offline.records.resolved import UNKNOWN, Resolved
from offline.torchbaseline.batch import StaticBatch
from offline.torchbaseline.memory import BatchMemory, batch_memory
from probes.doctor.resources import model_threads
from probes.doctor.surroundings import here
from probes.engineplatform import CPU, engine_platform
from probes.errors import EnginescopeError
from probes.memory.modelconfig import model_config

SEED = 20261125  # of random weights, where a model has none


class TorchModel:
    """A model on the engine's device, in the dtype asked for, with as many threads as vLLM computes with."""

    def __init__(self, folder: Path, dtype: str = "float32", attention: str = "sdpa") -> None:
        platform = engine_platform()
        self.device = "cpu" if platform == CPU else "cuda"
        if platform == CPU and (threads := model_threads(here())):
            torch.set_num_threads(threads)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.language_model = load(folder, self.dtype, attention).to(self.device).eval()
        config = self.language_model.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.memory = memory_of(folder, config, self.dtype.itemsize)
        self.resolved = resolved(self.device, dtype, int(config.max_position_embeddings))

    @torch.inference_mode()
    def generate(self, batch: StaticBatch, on_step: Callable[[Sequence[int]], None]) -> None:
        """Run a batch until its longest output is complete; `on_step` gets the ids of all rows at each step."""
        rows, prompt_len, output_len = len(batch.requests), batch.prompt_len, batch.output_len
        ids, mask = self._padded(batch)
        cache = own_cache(self.language_model.config, rows, prompt_len + output_len - 1)
        positions = (mask[:, :prompt_len].cumsum(1) - 1).clamp(min=0)
        samplers = [RowSampler(request.sampling, self.device) for request in batch.requests]
        for step in range(output_len):
            output = self.language_model(
                input_ids=ids,
                attention_mask=mask[:, : prompt_len + step],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            tokens = sample(output.logits[:, -1].float(), samplers)
            on_step(tokens.tolist())
            ids, positions = tokens[:, None], positions[:, -1:] + 1

    def _padded(self, batch: StaticBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts padded on the left, (rows, prompt), and the mask of all positions, (rows, prompt + output)."""
        longest = batch.prompt_len
        ids = torch.zeros((len(batch.requests), longest), dtype=torch.long)
        mask = torch.ones((len(batch.requests), longest + batch.output_len), dtype=torch.long)
        for row, request in enumerate(batch.requests):
            length = len(request.prompt_token_ids)
            ids[row, longest - length :] = torch.tensor(request.prompt_token_ids)
            mask[row, : longest - length] = 0
        return ids.to(self.device), mask.to(self.device)


def load(folder: Path, dtype: torch.dtype, attention: str) -> Any:
    """The model of a folder; with random weights of a fixed seed where the folder has none."""
    if any(folder.glob("*.safetensors")):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    torch.manual_seed(SEED)
    config = AutoConfig.from_pretrained(folder)
    return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)


def memory_of(folder: Path, config: Any, width: int) -> BatchMemory:
    """What batches of a model need; refused where its cache is no keys and values of every head in every layer."""
    kv_values = model_config(folder).kv_values
    if kv_values is None:
        raise EnginescopeError(
            f"{folder.name}: the torch baseline has no arithmetic for the cache of this architecture"
        )
    return batch_memory(kv_values, config.hidden_size, config.intermediate_size, config.vocab_size, width)


def resolved(device: str, dtype: str, longest: int) -> Resolved:
    """The baseline in the words of an engine's configuration; what it does not have is None."""
    return replace(
        UNKNOWN,
        device=device,
        dtype=dtype,
        max_model_len=longest,
        enforce_eager=True,
        enable_prefix_caching=False,
        enable_chunked_prefill=False,
        async_scheduling=False,
    )


class OwnLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, heads, positions, size): made once for a batch, filled from the left.

    transformers' own cache grows by copying all of it at every step.
    """

    is_sliding = False

    def __init__(self, rows: int, positions: int) -> None:
        super().__init__()
        self.rows, self.positions, self.length = rows, positions, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take the memory, in the shape of the first keys and values."""
        self.keys, self.values = (
            states.new_empty((self.rows, states.shape[1], self.positions, states.shape[3]))
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of new positions; all of them so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, begin : self.length] = key_states
        self.values[:, :, begin : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Positions that queries may look at, and where they begin."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Positions so far."""
        return self.length

    def get_max_length(self) -> int:
        """Positions that there is room for."""
        return self.positions


def own_cache(config: Any, rows: int, positions: int) -> Cache:
    """The cache of a batch."""
    layers = config.get_text_config().num_hidden_layers
    return Cache(layers=[OwnLayer(rows, positions) for _ in range(layers)])


class RowSampler:
    """How a row's next token is chosen: greedily at temperature 0, else at random among `top_k` and `top_p`."""

    def __init__(self, sampling: Mapping[str, float], device: str) -> None:
        self.temperature = float(sampling.get("temperature", 0.0))
        self.top_k, self.top_p = int(sampling.get("top_k", 0)), float(sampling.get("top_p", 1.0))
        self.generator = torch.Generator(device)
        if "seed" in sampling:
            self.generator.manual_seed(int(sampling["seed"]))
        else:
            self.generator.seed()

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token by a row's logits."""
        ordered, ids = torch.sort(logits / self.temperature, descending=True)
        shares = ordered.softmax(-1)
        if self.top_k > 0:
            shares[self.top_k :] = 0
        shares[shares.cumsum(-1) - shares > self.top_p] = 0
        return ids[torch.multinomial(shares, 1, generator=self.generator)[0]]


def sample(logits: torch.Tensor, samplers: Sequence[RowSampler]) -> torch.Tensor:
    """The next token of each row."""
    tokens = logits.argmax(-1)
    for row, sampler in enumerate(samplers):
        if sampler.temperature > 0:
            tokens[row] = sampler.choose(logits[row])
    return tokens
