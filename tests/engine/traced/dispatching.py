"""vLLM's real dispatcher of CUDA graphs under the real function of Model Runner V1 that asks it, without an engine.

Graphs of 1, 2, 4, 8 and 16 tokens, of at most 8 requests: FULL for decodes, PIECEWISE for the rest. Nothing is
captured: there is no device. Prints a line a batch: its step, then the mode and the tokens that vLLM answers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

BATCHES = [[1], [1] * 3, [1] * 8, [4, 1], [12], [9] * 2]  # the tokens of each request
SIZES = [1, 2, 4, 8, 16]


def configuration(mode: Any) -> Any:
    """What the dispatcher and the function read of vLLM's configuration."""
    return SimpleNamespace(
        compilation_config=SimpleNamespace(
            cudagraph_mode=mode,
            max_cudagraph_capture_size=SIZES[-1],
            cudagraph_capture_sizes=SIZES,
            compile_sizes=[],
            pass_config=SimpleNamespace(enable_sp=False),  # vLLM 0.31 reads it
            is_attention_compiled_piecewise=lambda: True,
        ),
        num_speculative_tokens=0,
        speculative_config=None,
        lora_config=None,
        scheduler_config=SimpleNamespace(max_num_seqs=8),
        parallel_config=SimpleNamespace(data_parallel_size=1),
        observability_config=SimpleNamespace(cudagraph_metrics=False),
    )


def runner(dispatcher: Any, config: Any, uniform: Any) -> Any:
    """What the function reads of a model runner."""
    return SimpleNamespace(
        vllm_config=config,
        cudagraph_dispatcher=dispatcher,
        uniform_decode_query_len=1,
        _is_uniform_decode=uniform,
        # vLLM 0.31 asks for these two.
        _pad_for_sequence_parallelism=lambda tokens: tokens,
        compilation_config=config.compilation_config,
        model_config=SimpleNamespace(is_encoder_decoder=False),
        input_batch=SimpleNamespace(lora_id_to_lora_request={}),
    )


def main() -> None:
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    import numpy as np
    from vllm.config import CUDAGraphMode
    from vllm.v1.cudagraph_dispatcher import CudagraphDispatcher
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    from tracing.hooks import _recorder

    config = configuration(CUDAGraphMode.FULL_AND_PIECEWISE)
    dispatcher: Any = CudagraphDispatcher(config)
    dispatcher.initialize_cudagraph_keys(CUDAGraphMode.FULL_AND_PIECEWISE, 1)
    asks: Any = GPUModelRunner._determine_batch_execution_and_padding
    model_runner = runner(dispatcher, config, GPUModelRunner._is_uniform_decode)
    for step, tokens in enumerate(BATCHES):
        _recorder.set_step(step)
        each = np.array(tokens)
        mode, batch, *_ = asks(
            model_runner,
            num_tokens=int(each.sum()),
            num_reqs=len(tokens),
            num_scheduled_tokens_np=each,
            max_num_scheduled_tokens=max(tokens),
            use_cascade_attn=False,
        )
        print(step, mode.name, batch.num_tokens, flush=True)


if __name__ == "__main__":
    main()
