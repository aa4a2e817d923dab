"""Which family a kernel is of, by its name: attention, GEMM, MoE, communication, sampling, copy, or other.

The names are those of vLLM's own CUDA and Triton kernels and of the libraries that it calls (cuBLAS, CUTLASS, DeepGEMM,
FlashAttention, FlashInfer, NCCL, DeepEP, hipBLASLt, ATen). A name says what a kernel computes and not for whom: a copy
inside attention is a copy, and what torch.compile fused of many operators is other.
"""

from __future__ import annotations

import re

ATTENTION, GEMM, MOE, COMMUNICATION, SAMPLING, COPY = "attention", "GEMM", "MoE", "communication", "sampling", "copy"
OTHER = "other"
GRAPH = "CUDA graph, recorded whole"  # its kernels are not known, so neither are their families
FAMILIES = (ATTENTION, GEMM, MOE, COMMUNICATION, SAMPLING, COPY, OTHER, GRAPH)
CODES = {family: code for code, family in enumerate(FAMILIES)}

# The first that is found counts: an all-reduce may be fused with a norm or with the end of an MoE layer, and the GEMMs
# of experts and of attention are made of the same templates as all others.
NAMES = (
    (OTHER, r"^triton_(poi|red|per|for|mix)_"),  # fused by torch.compile, and named after every operator in it
    (
        COMMUNICATION,
        r"nccl|rccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|a2a|cross_device_reduce|multimem|mnnvl"
        r"|nvshmem|deep_ep|pplx|lamport|quick_?reduce|symm_mem|direct_dcp|wait_lse_combine|dispatch_output_lse",
    ),
    (
        MOE,
        r"moe|expert|grouped_?topk|topk_?gating|topk_with_k2|group_idx_and_topk|groupproblemshape"
        r"|m_?grouped|group(ed)?_?gemm|shuffleinputrows|expandinputrows|_matmul_ogs|routing|ep_(scatter|gather)"
        r"|bmm_\w*(swiglu|dynbatch)|batched_triton_kernel|count_and_sort|hashtopk|preprocesstopkid|compute_(problem_sizes|arg_sorts)",
    ),
    (
        ATTENTION,
        r"attn|attention|fmha|flash(?!infer)|(?<![a-z])mha|mla(?![a-z])|mlaq|mqa|gqa|xqa|pagedkv|kvcache|kv_cache"
        r"|batch(decode|prefill)with|mergestates?|^_fwd_(grouped_)?kernel|_and_(maybe_dequant_)?cache|cp_gather"
        r"|indexer|topk_?index|topkperrow|reduce_segments|split_kv",
    ),
    (
        GEMM,
        r"gemm|gemv|gemk|nvjet|xmma|cublas|cijk_|matmul|marlin|machete|split_?k|tensorop|\d{4,5}gemm"
        r"|cutlass::(kernel|device_kernel)|cutlass(_\d|3x)|triton_tem_|scaled_mm|bmm|(?<![a-z])mm_k|_mm(_|$)"
        r"|lora_(shrink|expand)|do_(shrink|expand)|linear_kernel",
    ),
    (
        SAMPLING,
        r"(?<!up)(?<!down)sampl|arg_?max|gumbel|penalt|bitmask|bad_words|min_p_|temperature|log_?prob|log_?softmax"
        r"|rejection|exponential|distribution_(nullary|elementwise)|philox|top_?k|top_?p(?![a-z])|topp|radix_?sort"
        r"|bitonicsort|segmentedsort|cunn_softmax|_ranks_kernel|bincount|stop_token",
    ),
    (COPY, r"mem_?cpy|mem_?set|copy_kernel|batchedcopy|fillfunctor|copy_blocks|swap_blocks|^copy"),
)
_NAMES = tuple((family, re.compile(pattern, re.I)) for family, pattern in NAMES)


def family_of(name: str) -> str:
    """The family of a kernel, by its whole name where there is one: what a template is filled with tells it apart."""
    return next((family for family, pattern in _NAMES if pattern.search(name)), OTHER)
