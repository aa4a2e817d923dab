"""A decoder-only transformer by its `config.json`: its parameters by kind, and the shape of its attention.

Architectures whose arithmetic is not here are refused by name, rather than counted wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes.hub.hubmodel import ModelFile

# What an architecture has that its configuration does not say.
PLAIN, QKV_BIAS, QK_NORM = "", "a bias in the projections of queries, keys and values", "norms of queries and keys"
ARCHITECTURES = {
    "LlamaForCausalLM": PLAIN,
    "MistralForCausalLM": PLAIN,
    "MixtralForCausalLM": PLAIN,
    "Phi3ForCausalLM": PLAIN,
    "Qwen2ForCausalLM": QKV_BIAS,
    "Qwen2MoeForCausalLM": QKV_BIAS,
    "Qwen3ForCausalLM": QK_NORM,
    "Qwen3MoeForCausalLM": QK_NORM,
}
FULL_ATTENTION = "full_attention"


class NotCovered(ValueError):
    """The arithmetic does not hold here; the message says why."""


@dataclass(frozen=True)
class Decoder:
    """Counts of parameters by how they are read and computed with, and the shape of attention.

    `linear`: the matrices that every token passes, in all layers; `vectors`: norms, biases and routers; `expert`: one
    expert in one layer. `output` is 0 where the embeddings serve as output matrix too. `window` is the longest context
    of a layer with sliding attention, in tokens; None where there is none.
    """

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    embedding: int
    output: int
    linear: int
    vectors: int
    expert: int = 0
    expert_layers: int = 0
    experts: int = 0
    experts_per_token: int = 0
    window: int | None = None

    @property
    def parameters(self) -> int:
        """All of them."""
        experts = self.expert * self.experts * self.expert_layers
        return self.embedding + self.output + self.linear + self.vectors + experts

    @property
    def active_parameters(self) -> int:
        """Those that have a part in one token: of the experts, the chosen ones."""
        return self.parameters - self.expert * (self.experts - self.experts_per_token) * self.expert_layers

    @property
    def output_matrix(self) -> int:
        """Parameters of the matrix that makes logits."""
        return self.output or self.embedding

    def experts_touched(self, tokens: int) -> float:
        """Experts of a layer that a step of so many tokens reads, if tokens choose evenly: E · (1 - (1 - k/E)^tokens).

        | experts | a token | tokens | touched |
        | ------- | ------- | ------ | ------- |
        | 8       | 2       | 1      | 2       |
        | 8       | 2       | 2      | 3.5     |
        """
        if not self.experts:
            return 0.0
        return self.experts * (1 - (1 - self.experts_per_token / self.experts) ** tokens)


def decoder(config: ModelFile) -> Decoder:
    """The decoder of a `config.json`, or of a configuration as the engine holds it; `NotCovered` says why not."""
    names = config.get("architectures") or ["a model without a named architecture"]
    if names[0] not in ARCHITECTURES:
        raise NotCovered(f"no arithmetic for {names[0]}")
    try:
        return _decoder(config, ARCHITECTURES[names[0]])
    except (KeyError, TypeError) as error:
        raise NotCovered(f"the configuration of {names[0]} does not hold {error}") from None


def _decoder(config: ModelFile, peculiarity: str) -> Decoder:
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or hidden // heads
    queries, keys = heads * size, 2 * kv_heads * size  # widths; keys and values together
    sparse = _expert_layers(config)
    dense_mlp, mlp_bias = _mlp(config, config["intermediate_size"])
    shared_mlp = 3 * hidden * (config.get("shared_expert_intermediate_size") or 0) if sparse else 0
    experts, chosen = (_experts(config), config["num_experts_per_tok"]) if sparse else (0, 0)
    bias = _attention_bias(config, peculiarity, queries + keys, hidden)
    norms = 2 * hidden + (2 * size if peculiarity == QK_NORM else 0)
    router = hidden * experts + (hidden if shared_mlp else 0)  # beside a shared expert stands a gate of its own
    attention = hidden * (queries + keys) + queries * hidden
    embedding = config["vocab_size"] * hidden
    return Decoder(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        embedding=embedding,
        output=0 if config.get("tie_word_embeddings") else embedding,
        linear=layers * attention + (layers - sparse) * dense_mlp + sparse * shared_mlp,
        vectors=layers * (norms + bias) + (layers - sparse) * mlp_bias + sparse * router + hidden,
        expert=3 * hidden * (config.get("moe_intermediate_size") or config["intermediate_size"]) if sparse else 0,
        expert_layers=sparse,
        experts=experts,
        experts_per_token=chosen,
        window=_window(config),
    )


def _mlp(config: ModelFile, width: int) -> tuple[int, int]:
    """Matrices and biases of a gated MLP: gate, up and down."""
    hidden = config["hidden_size"]
    return 3 * hidden * width, (2 * width + hidden if config.get("mlp_bias") else 0)


def _attention_bias(config: ModelFile, peculiarity: str, inputs: int, hidden: int) -> int:
    """Biases of a layer's attention: of the projections before it, and where `attention_bias` is set, after it."""
    if peculiarity == QKV_BIAS:
        return inputs if config.get("qkv_bias", True) else 0
    return inputs + hidden if config.get("attention_bias") else 0


def _experts(config: ModelFile) -> int:
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


def _expert_layers(config: ModelFile) -> int:
    """How many layers have experts in place of one MLP."""
    if not _experts(config):
        return 0
    step, dense = config.get("decoder_sparse_step") or 1, config.get("mlp_only_layers") or []
    return sum(layer not in dense and (layer + 1) % step == 0 for layer in range(config["num_hidden_layers"]))


def _window(config: ModelFile) -> int | None:
    kinds = set(config.get("layer_types") or []) - {FULL_ATTENTION}
    if kinds - {"sliding_attention"}:
        raise NotCovered(f"no arithmetic for layers of {', '.join(sorted(kinds))}")
    window = config.get("sliding_window")
    if config.get("layer_types"):
        return window if kinds else None
    return window if config.get("use_sliding_window", True) else None
