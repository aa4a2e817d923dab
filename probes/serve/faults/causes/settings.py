"""Causes: settings that the model, the GPU or each other refuse; quantization and attention among them."""

from __future__ import annotations

from probes.serve.faults.causes.faultcause import FaultCause

SETTINGS = (
    FaultCause(
        r"max_model_len \(?\d+\)? is greater than the derived max_model_len \([^=]*=(\d+)",
        "--max-model-len is longer than the model was made for",
        "--max-model-len {1}",
        "Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
        "(max_position_embeddings=8192 or model_max_length=None in model's config.json).",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)",
        "{1} GPUs are asked for, {2} are there",
        "--tensor-parallel-size {2}; python -m probes.machine lists the GPUs; over several machines: --nnodes, or "
        "--distributed-executor-backend=ray",
        "ValueError: World size (4) is larger than the number of available GPUs (2) in this node. If this is "
        "intentional",
        "vllm/config/parallel.py",
    ),
    FaultCause(
        r"attention heads \((\d+)\) must be divisible by tensor parallel size",
        "the model's {1} attention heads cannot be divided by that number of cards",
        "a --tensor-parallel-size that divides {1}; the rest by --pipeline-parallel-size",
        "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"Pipeline parallelism is not supported for this model",
        "this model cannot be cut into stages",
        "leave --pipeline-parallel-size out, and take --tensor-parallel-size",
        "NotImplementedError: Pipeline parallelism is not supported for this model. Supported models implement the "
        "`SupportsPP` interface.",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"Invalid data.parallel (?:launch options|configuration)",
        "the options of data parallelism do not fit each other",
        "the line names the option to change; for one machine, --data-parallel-size alone is enough",
        "ValueError: Invalid data-parallel launch options: `--data-parallel-hybrid-lb` and "
        "`--data-parallel-external-lb` cannot be enabled together. Enable only one load-balancing mode.",
        "vllm/engine/arg_utils.py",
    ),
    FaultCause(
        r"enable_expert_parallel must be True to use EPLB",
        "balancing experts needs expert parallelism",
        "--enable-expert-parallel, or leave --enable-eplb out",
        "ValueError: enable_expert_parallel must be True to use EPLB.",
        "vllm/config/parallel.py",
    ),
    FaultCause(
        r"max_num_batched_tokens \((\d+)\) is smaller than max_model_len",
        "without chunked prefill a step has to hold a whole prompt",
        "--enable-chunked-prefill, or --max-model-len {1}",
        "ValueError: max_num_batched_tokens (2048) is smaller than max_model_len (8192). This effectively limits the "
        "maximum sequence length",
        "vllm/config/scheduler.py",
    ),
    FaultCause(
        r"max_num_batched_tokens \((\d+)\) must be greater than or equal to max_num_seqs",
        "a step has room for fewer tokens than there may be requests",
        "--max-num-seqs={1}, or a larger --max-num-batched-tokens=N",
        "ValueError: max_num_batched_tokens (128) must be greater than or equal to max_num_seqs (256).",
        "vllm/config/scheduler.py",
    ),
    FaultCause(
        r"No common block size for \d+",
        "the attention backend does not take this block size",
        "leave --block-size out, or give a multiple of 32 on CPU",
        "ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)]).",
        "vllm/v1/worker/utils.py",
    ),
    FaultCause(
        r"Selected backend .* is not valid for this configuration",
        "the attention backend that was asked for does not take this model, dtype or GPU; the line says why",
        "leave --attention-backend out: vLLM then takes the first that does",
        "ValueError: Selected backend AttentionBackendEnum.FLASHINFER is not valid for this configuration. Reason: "
        "['compute capability not supported']",
        "vllm/platforms/cuda.py",
    ),
    FaultCause(
        r"No valid (?:MLA prefill |attention )backend found",
        "no attention backend takes this model, dtype, KV cache and GPU; the line says why not, for each",
        "--dtype=half or --kv-cache-dtype=auto first; else another GPU or a newer vLLM",
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size=72). Reasons: "
        "{FLASH_ATTN: [head_size not supported]}.",
        "vllm/platforms/cuda.py",
    ),
    FaultCause(
        r"Unknown attention backend|Invalid attention backend for",
        "this vLLM has no attention backend of that name",
        "one of the names in the line for --attention-backend, or leave it out",
        "ValueError: Unknown attention backend: 'FLASH'. Valid options are: FLASH_ATTN, TRITON_ATTN",
        "vllm/v1/attention/backends/registry.py",
    ),
    FaultCause(
        r"CUDAGraphMode\.\w+ is not supported with",
        "the attention backend cannot be captured whole in a CUDA graph",
        '--compilation-config=\'{{"cudagraph_mode": "PIECEWISE"}}\', or --enforce-eager',
        "ValueError: CUDAGraphMode.FULL is not supported with FlexAttention backend (support:AttentionCGSupport.NEVER) "
        "; please try cudagraph_mode=PIECEWISE",
        "vllm/config/compilation.py",
    ),
    FaultCause(
        r"only supported on GPUs with compute capability",
        "the model's dtype is too new for this GPU",
        "--dtype=half",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has "
        "compute capability 7.5.",
        "vllm/platforms/cuda.py",
    ),
    FaultCause(
        r"does not support float16\. Reason",
        "this model's numbers overflow in float16",
        "--dtype=bfloat16, or --dtype=float32 where the GPU has none",
        "ValueError: The model type 'gemma3' does not support float16. Reason: Numerical instability.",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"is not supported for quantization method (\w+)\. Supported dtypes",
        "the quantization ({1}) does not take this dtype",
        "--dtype=half, or another that the line lists",
        "ValueError: torch.bfloat16 is not supported for quantization method gptq. Supported dtypes: [torch.float16]",
        "vllm/config/vllm.py",
    ),
    FaultCause(
        r"quantization method (\S+) is not supported for the current GPU",
        "this GPU is too old for the model's quantization ({1})",
        "the model in another quantization, or without one; the log names both compute capabilities",
        "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75. Current "
        "capability: 70.",
        "vllm/config/vllm.py",
    ),
    FaultCause(
        r"Quantization scheme is not supported for the current GPU",
        "this GPU is too old for the scheme that the model was compressed with",
        "the model in another quantization (FP8 needs compute capability 8.9, INT8 7.5), or without one",
        "RuntimeError: Quantization scheme is not supported for the current GPU. Min capability: 89. Current "
        "capability: 80.",
        "vllm/model_executor/layers/quantization/quark/quark.py",
    ),
    FaultCause(
        r"quantization is currently not supported in",
        "this platform does not run the model's quantization",
        "the model in another quantization, or without one",
        "ValueError: gguf quantization is currently not supported in cpu.",
        "vllm/platforms/interface.py",
    ),
    FaultCause(
        r"model config \((\S+?)\) does not match the quantization method",
        "--quantization is not what the model was quantized with ({1})",
        "leave --quantization out",
        "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method "
        "specified in the `quantization` argument (awq).",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"Unknown quantization method",
        "this vLLM has no quantization of that name",
        "leave --quantization out, or take a name that the line lists",
        "ValueError: Unknown quantization method: bitnet. Must be one of ['awq', 'fp8'].",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"Cannot find the config file for (\w+)",
        "--quantization={1} is asked for, and the model has no such quantization",
        "leave --quantization out, or take the model's {1} version",
        "ValueError: Cannot find the config file for awq",
        "vllm/model_executor/model_loader/weight_utils.py",
    ),
    FaultCause(
        r"not divisible by +(?:min_thread|weight quantization block)",
        "a quantized layer cannot be cut into that many parts",
        "a smaller --tensor-parallel-size; for experts, --enable-expert-parallel",
        "ValueError: The output_size of gate's and up's weight = 192 is not divisible by weight quantization block_n = "
        "128.",
        "vllm/model_executor/layers/quantization/utils/fp8_utils.py",
    ),
    FaultCause(
        r"Failed to find a kernel that can implement",
        "no kernel of this build takes the model's quantized layers on this device; the lines below say why, for each",
        "the model in another quantization; python -m probes.doctor names the build",
        "ValueError: Failed to find a kernel that can implement the ScaledMM linear layer. Reasons: ",
        "vllm/model_executor/kernels/linear/__init__.py",
    ),
    FaultCause(
        r"Target and draft model should have the same vocabulary size",
        "the draft model has another vocabulary than the model",
        'a draft model of the same family; or speculate without one: --speculative-config=\'{{"method": "ngram", …}}\'',
        "ValueError: Target and draft model should have the same vocabulary size. Target model vocab_size=151936. "
        "Draft model vocab_size=151643.",
        "vllm/config/speculative.py",
    ),
    FaultCause(
        r"num_speculative_tokens must be provided",
        "speculative decoding is not told how many tokens to draft",
        'add "num_speculative_tokens": 3 to --speculative-config',
        "ValueError: num_speculative_tokens must be provided with speculative model unless the draft model config "
        "contains an n_predict parameter.",
        "vllm/config/speculative.py",
    ),
    FaultCause(
        r"--enable-auto-tool-choice requires|invalid tool call parser|has not been registered|invalid reasoning parser",
        "there is no parser of tool calls or of reasoning by that name",
        "a --tool-call-parser or --reasoning-parser that --help lists",
        "TypeError: Error: --enable-auto-tool-choice requires tool_parser:'nope' which has not been registered",
        "vllm/parser/parser_manager.py",
    ),
    FaultCause(
        r"(?:Sleep mode|cumem allocator) is not supported on current platform",
        "sleeping needs CUDA's or ROCm's memory allocator",
        "leave --enable-sleep-mode out",
        "ValueError: Sleep mode is not supported on current platform.",
        "vllm/config/model.py",
    ),
    FaultCause(
        r"Please specify kv_role when kv_connector is set|Unsupported kv_role",
        "a KV connector is not told whether it sends, receives or both",
        'add "kv_role": "kv_both" (or kv_producer, kv_consumer) to --kv-transfer-config',
        "ValueError: Please specify kv_role when kv_connector is set, supported roles are ('kv_producer', "
        "'kv_consumer')",
        "vllm/config/kv_transfer.py",
    ),
    FaultCause(
        r"^(?:AssertionError: )?(\d+) is not divisible by (\d+)$",
        "{2} cards do not divide a size of the model ({1}): heads, vocabulary or layers",
        "a --tensor-parallel-size that divides {1}; the rest by --pipeline-parallel-size or --data-parallel-size",
        "AssertionError: 14 is not divisible by 4",
        "vllm/distributed/utils.py",
    ),
    FaultCause(
        r"max_tokens_per_mm_item \((\d+)\) is larger than max_num_batched_tokens",
        "one image or video has more tokens than a step may hold",
        "--max-num-batched-tokens={1}, or smaller images: --mm-processor-kwargs",
        "ValueError: Chunked MM input disabled but max_tokens_per_mm_item (16384) is larger than "
        "max_num_batched_tokens (8192). Please increase max_num_batched_tokens.",
        "vllm/v1/core/encoder_cache_manager.py",
    ),
    FaultCause(
        r"FlashAttention only supports Ampere",
        "this GPU is too old for FlashAttention 2",
        "--attention-backend=TRITON_ATTN with --dtype=half; a newer vLLM chooses by itself",
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
        "vllm-project/vllm#8189",
    ),
)
