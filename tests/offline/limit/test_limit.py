"""The limit by hand: parameters of known models, bytes and operations of a step, the share that a trial achieved."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.limit.columns import LimitFigures
from offline.limit.decoder import NotCovered, decoder
from offline.limit.figures import limit
from offline.limit.work import StepShape, model_work
from offline.records.lines import StartRecord
from offline.records.resolved import Resolved
from offline.table.cells import rows
from probes.checkpoint import default_model
from probes.memory.footprint import weights
from probes.rates.rates import Rates
from tests.offline.armrecords import ARM, COLD, RESOLVED, started, trial

# As published in their config.json: what counts parameters.
LLAMA_3_8B = {
    **{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256},
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "attention_bias": False},
    **{"tie_word_embeddings": False},
}
QWEN_2_5_7B = {
    **{"architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944, "vocab_size": 152064},
    **{"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False},
    **{"sliding_window": 131072, "use_sliding_window": False, "max_window_layers": 28},
}
MIXTRAL_8X7B = {
    **{"architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 32000},
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8},
    **{"num_experts_per_tok": 2, "sliding_window": None, "tie_word_embeddings": False},
}
QWEN_3_30B_A3B = {
    **{"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 6144, "vocab_size": 151936},
    **{"num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128},
    **{"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1},
    **{"mlp_only_layers": [], "attention_bias": False, "tie_word_embeddings": False},
}
# One layer: attention 4 x (4 + 4) + 4 x 4 = 48, MLP 3 x 4 x 8 = 96, norms 3 x 4 = 12, embeddings 10 x 4 = 40.
TINY = {
    **{"architectures": ["LlamaForCausalLM"], "hidden_size": 4, "intermediate_size": 8, "vocab_size": 10},
    **{"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True},
}
RATES = Rates("cpu", 1, memory_bytes_s=100_000.0, matrix_flop_s={"float32": 200_000.0}, measured="")


def resolved(**changes: Any) -> Resolved:
    return Resolved(**{**RESOLVED, "max_model_len": 384, **changes})


def start(config: dict[str, Any] | None = None, **changes: Any) -> StartRecord:
    record = started(model_config=config or TINY, resolved=asdict(resolved(**changes)))
    assert isinstance(record, StartRecord)
    return record


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_3_8B, 8_030_261_248),
        (QWEN_2_5_7B, 7_615_616_512),
        (MIXTRAL_8X7B, 46_702_792_704),
        (QWEN_3_30B_A3B, 30_532_122_624),
        (TINY, 196),
    ],
)
def test_parameters_are_the_published_ones(config: dict[str, Any], parameters: int) -> None:
    assert decoder(config).parameters == parameters


def test_a_token_passes_the_chosen_experts() -> None:
    """Mixtral leaves out 6 of 8 experts of 3 x 4096 x 14336 parameters in each of 32 layers: 12.9 billion stay."""
    assert decoder(MIXTRAL_8X7B).active_parameters == 46_702_792_704 - 32 * 6 * 3 * 4096 * 14336 == 12_879_925_248
    assert decoder(QWEN_3_30B_A3B).active_parameters == 30_532_122_624 - 48 * 120 * 3 * 2048 * 768
    assert decoder(LLAMA_3_8B).active_parameters == 8_030_261_248


def test_the_default_models_weights_are_those_of_its_file() -> None:
    folder = default_model()
    config, file = json.loads((folder / "config.json").read_text()), weights(folder)
    work = model_work(config, resolved(dtype="bfloat16"))
    assert file is not None
    assert (work.decoder.parameters, work.weights_bytes(1)) == (file.parameters, file.disk)


@pytest.mark.parametrize(
    ("config", "changes", "token_bytes"),
    [
        (LLAMA_3_8B, {"dtype": "bfloat16"}, 131_072),  # 2 x 32 layers x 8 heads x 128 x 2 bytes
        (LLAMA_3_8B, {"dtype": "bfloat16", "kv_cache_dtype": "fp8"}, 65_536),
        (QWEN_2_5_7B, {"dtype": "bfloat16"}, 57_344),  # 2 x 28 x 4 x 128 x 2
        (TINY, {}, 16),
    ],
)
def test_keys_and_values_of_a_token(config: dict[str, Any], changes: dict[str, Any], token_bytes: int) -> None:
    assert model_work(config, resolved(**changes)).kv_token_bytes == token_bytes


def test_a_step_reads_the_experts_that_its_tokens_choose() -> None:
    """1 token: 2 experts of 8. 2 tokens: 3.5. The embedding table of an untied model is not read."""
    work = model_work(MIXTRAL_8X7B, resolved(dtype="bfloat16"))
    expert = 32 * 3 * 4096 * 14336
    rest = 12_879_925_248 - 2 * expert - 32000 * 4096
    assert [work.weights_bytes(tokens) for tokens in (1, 2)] == [2 * (rest + n * expert) for n in (2, 3.5)]


@pytest.mark.parametrize(
    ("quantization", "asked", "linear_bytes", "computed_in"),
    [
        (None, None, 2.0, "bfloat16"),
        (None, "fp8", 1.0, "fp8"),
        ({"quant_method": "fp8"}, "fp8", 1.0, "fp8"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq_marlin", (4 + 20 / 128) / 8, "bfloat16"),
        ({"quant_method": "awq", "bits": 4, "group_size": -1}, "awq", 0.5, "bfloat16"),
    ],
)
def test_quantized_weights(quantization: Any, asked: str | None, linear_bytes: float, computed_in: str) -> None:
    config = {**LLAMA_3_8B, "quantization_config": quantization}
    work = model_work(config, resolved(dtype="bfloat16", quantization=asked))
    assert (work.linear_bytes, work.computed_in, work.other_bytes) == (linear_bytes, computed_in, 2)
    vectors, head = 65 * 4096, 128256 * 4096
    assert work.weights_bytes(1) == linear_bytes * 6_979_321_856 + 2 * (vectors + head)


def test_a_step_by_hand() -> None:
    """Two requests decode, each after ten tokens: weights once, 20 tokens read, 2 written."""
    work = model_work(TINY, resolved())
    step = StepShape(tokens=2, outputs=2, kv_read_tokens=20, pairs=22)
    assert work.weights_bytes(2) == 4 * 196
    assert work.moved_bytes(step) == 784 + 16 * 22
    assert work.operations(step) == 2 * (144 * 2 + 40 * 2 + 2 * 2 * 2 * 22)


def test_the_limit_of_a_trial_by_hand() -> None:
    """Two requests of 8 + 3 tokens, 2 of each cached; see `STEPS`.

    Decode steps: 784 bytes of weights, 16 a token of KV. Two requests: 2 x 6.5 + 2 tokens read, 2 written: 1,056 bytes
    in 30 ms; one: 936 bytes in 40 ms. Prefilling steps: 8 tokens, 44 pairs: 3,088 operations, and with a decode beside
    them 3,608, in 200 ms; a matrix rate of 200,000 a second makes them longer than their bytes do.
    """
    assert asdict(limit(start(), RATES).figures(trial(COLD, 0))) == pytest.approx(
        {
            "mbu": (1056 + 936) / (0.07 * 100_000),
            "mfu": (3088 + 3608) / (0.2 * 200_000),
            "decode_floor_s": 0.01992,
            "decode_share": 0.01992 / 0.07,
            "prefill_floor_s": 0.03348,
            "prefill_share": 0.03348 / 0.2,
        }
    )


def test_the_limit_is_in_the_table() -> None:
    row = rows([ARM], 1, [start(), trial(COLD, 0)], RATES)[0]
    assert row["mbu"] == pytest.approx(0.2846, abs=5e-5) and row["mfu"] == pytest.approx(0.1674)
    assert (row["parameters"], row["kv_token_bytes"], row["memory_bytes_s"], row["limit_note"]) == (196, 16, 1e5, "")


@pytest.mark.parametrize(
    ("config", "changes", "reason"),
    [
        ({"architectures": ["MambaForCausalLM"]}, {}, "no arithmetic for MambaForCausalLM"),
        ({"architectures": ["DeepseekV3ForCausalLM"]}, {}, "no arithmetic for DeepseekV3ForCausalLM"),
        ({**TINY, "sliding_window": 256}, {}, "a window of 256 tokens is shorter than requests may be"),
        ({**TINY, "layer_types": ["linear_attention"]}, {}, "no arithmetic for layers of linear_attention"),
        (
            {"architectures": ["LlamaForCausalLM"]},
            {},
            "the configuration of LlamaForCausalLM does not hold 'hidden_size'",
        ),
        (TINY, {"speculative": "ngram"}, "no arithmetic for speculative decoding"),
        (TINY, {"pipeline_parallel_size": 2}, "no arithmetic for pipeline stages"),
        (TINY, {"tensor_parallel_size": 2}, "the rates are those of one worker's threads"),
        (TINY, {"device": "cuda"}, "the rates are those of cpu, the engine ran on cuda"),
        (TINY, {"dtype": "float64"}, "no arithmetic for dtype float64"),
        (TINY, {"kv_cache_dtype": "turboquant"}, "no arithmetic for a KV cache of turboquant"),
        (TINY, {"quantization": "bitsandbytes"}, "no arithmetic for bitsandbytes weights"),
    ],
)
def test_where_there_is_no_arithmetic_the_reason_stands(
    config: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    floor = limit(start(config, **changes), RATES)
    assert floor.note == f"n/a: {reason}"
    assert floor.figures(trial(COLD, 0)) == LimitFigures()
    assert floor.columns().parameters is None


def test_what_was_not_measured_is_said() -> None:
    assert limit(None, RATES).note == "n/a: no engine came up"
    assert limit(start(), None).note == "n/a: the machine's rates were not measured"
    older = started()
    assert isinstance(older, StartRecord)
    assert limit(older, RATES).note == "n/a: the run does not hold the model's configuration"


def test_a_format_without_a_matrix_rate_has_a_memory_share_only() -> None:
    floor = limit(start(quantization="fp8"), RATES)
    figures = floor.figures(trial(COLD, 0))
    assert floor.note == "mfu and floors n/a: no matrix rate for fp8"
    assert figures.mbu is not None
    assert (figures.mfu, figures.decode_floor_s, figures.prefill_floor_s) == (None, None, None)


def test_steps_that_the_log_lost_give_no_figure() -> None:
    assert limit(start(), RATES).figures(trial(COLD, 0, steps_lost=1)) == LimitFigures()


def test_a_window_that_no_request_outgrows_changes_nothing() -> None:
    assert decoder(QWEN_2_5_7B).window is None
    assert model_work({**TINY, "sliding_window": 4096}, resolved()).decoder.parameters == 196
    with pytest.raises(NotCovered):
        model_work({**TINY, "sliding_window": 4096}, resolved(max_model_len=8192))


@given(st.integers(1, 64), st.data())
def test_experts_touched_lie_between_one_tokens_and_all(tokens: int, data: st.DataObject) -> None:
    experts = data.draw(st.integers(1, 64))
    chosen = data.draw(st.integers(1, experts))
    model = decoder({**MIXTRAL_8X7B, "num_local_experts": experts, "num_experts_per_tok": chosen})
    touched = model.experts_touched(tokens)
    assert chosen - 1e-9 <= touched <= min(experts, chosen * tokens) + 1e-9
    assert model.active_parameters <= model.parameters


@given(st.sampled_from([LLAMA_3_8B, QWEN_2_5_7B, MIXTRAL_8X7B]), st.integers(1, 512), st.integers(0, 100_000))
def test_more_work_never_moves_or_computes_less(config: dict[str, Any], tokens: int, context: int) -> None:
    work = model_work(config, resolved(dtype="bfloat16"))
    small = StepShape(tokens, 1, context, tokens * context)
    large = StepShape(tokens + 1, 1, context, (tokens + 1) * context)
    assert work.moved_bytes(small) < work.moved_bytes(large)
    assert work.operations(small) < work.operations(large)
