"""Kernels by the names that vLLM and its libraries give them: the family of each."""

from __future__ import annotations

import pytest

from tracing.breakdown.kernels.families import family_of

NAMES = {
    "attention": [
        "void cutlass::device_kernel<flash::enable_sm90<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90>>>",
        "void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64>>(flash::Flash_fwd_params)",
        "flash_fwd_splitkv_mla_kernel",
        "void flashinfer::BatchDecodeWithPagedKVCacheKernel<(flashinfer::PosEncodingMode)0>",
        "fmhaSm100fKernel_QkvBfloat16OBfloat16H128PagedKvCausalVarSeqQ128Kv128",
        "void vllm::paged_attention_v1_kernel<unsigned short, 128>",
        "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16>",
        "void vllm::concat_and_cache_mla_kernel<__nv_bfloat16>",
        "kernel_unified_attention_2d",
        "reduce_segments",
        "_fwd_grouped_kernel_stage1",
        "void deep_gemm::sm90_fp8_paged_mqa_logits<128>",
    ],
    "GEMM": [
        "nvjet_tst_64x8_64x16_4x1_v_bz_splitK_TNT",
        "void cublasLt::splitKreduce_kernel<32, 16, int, __nv_bfloat16>",
        "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>",
        "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int, int, int>>>",
        "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 7168u>",
        "void marlin::Marlin<__nv_bfloat16>",
        "_w8a8_triton_block_scaled_mm",
        "triton_tem_fused_mm_3",
        "Cijk_Alik_Bljk_BBS_BH_MT64x32x64",
        "wvSplitK_hf_sml_<__hip_bfloat16>",
        "_lora_shrink_kernel",
    ],
    "MoE": [
        "fused_moe_kernel",
        "void marlin_moe_wna16::Marlin<c10::BFloat16>",
        "void vllm::moe::moe_align_block_size_kernel<int>",
        "void vllm::moe::topkGating<4, 128, 4, 16>",
        "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cutlass::gemm::GroupProblemShape<int>>>",
        "_matmul_ogs_NNT_bf16xbf16xmxfp4_128x256x128x1_swiglu",
        "_fwd_kernel_ep_scatter_2",
        "bmm_Bfloat16_E2m1E2m1_Fp32_t128x8x512_s6_et128x8_TN_transOut_swiGlu_dynBatch_sm100f",
        "_fused_moe_lora_one_shot_kernel",
    ],
    "communication": [
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>",
        "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<8>",
        "void flashinfer::trtllm_moe_allreduce_fusion::moefinalize_allreduce_fusion_kernel_oneshot_lamport<8>",
        "void deep_ep::internode_ll::dispatch<true, false, 7168>(void*)",
        "void deep_ep::intranode::combine<__nv_bfloat16, 8>",
        "multimem_all_reduce_kernel",
    ],
    "sampling": [
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::ArgMaxOps<float>>>",
        "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024>",
        "_gumbel_sample_kernel",
        "_topk_log_softmax_kernel",
        "rejection_greedy_sample_kernel",
        "void vllm::apply_repetition_penalties_kernel<float>",
        "void at::native::distribution_elementwise_grid_stride_kernel<float, 4, exponential_kernel>",
    ],
    "copy": [
        "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)>",
        "void at::native::CatArrayBatchedCopy_aligned16_contig<bf16>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>",
        "Memcpy DtoH (Device -> Pinned)",
    ],
    "other": [
        "void vllm::rms_norm_kernel<c10::BFloat16>",
        "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel, true>",
        "triton_red_fused__to_copy_add_mean_moe_forward_shared_mul_pow_rsqrt_0",
        "void at::native::vectorized_gather_kernel<16, long>",
        "_selective_scan_update_kernel",
        "_compute_slot_mappings_kernel",
        "void at::native::upsample_nearest2d_out_frame<float>",
    ],
}


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in NAMES.items() for name in names])
def test_the_family_of_a_kernel(family: str, name: str) -> None:
    assert family_of(name) == family
