// llama: Llama 1 to 3, TinyLlama, SmolLM, Mistral, Mixtral. Pre-norm decoder with RMS norms, rotary
// positions, grouped-query attention and a gated SiLU feed-forward (Touvron et al. 2023,
// arXiv:2302.13971 and arXiv:2307.09288); Mistral's layers look back by a window (Jiang et al.
// 2023, arXiv:2310.06825), Mixtral's feed-forward is a few of several experts (Jiang et al. 2024,
// arXiv:2401.04088). llama.cpp knows no window for this architecture.

#include "model/architecture.h"
#include "model/usual_roles.h"

namespace halftone {
namespace {

constexpr ConfigDefault kMistral[] = {{"num_key_value_heads", 8}, {"sliding_window", 4096}};
constexpr ConfigDefault kMixtral[] = {{"num_key_value_heads", 8},
                                      {"rms_norm_eps", 1e-5},
                                      {"rope_theta", 1e6},
                                      {"num_local_experts", 8},
                                      {"num_experts_per_tok", 2}};

constexpr HfClass kClasses[] = {
    {"LlamaForCausalLM", "llama"},
    {"MistralForCausalLM", "mistral", kMistral, /*windows=*/true},
    {"MixtralForCausalLM", "mixtral", kMixtral, /*windows=*/true, /*experts=*/true},
};

constexpr RoleName kRoles[] = {
    usual::kTokenEmbedding,
    usual::kOutputNorm,
    usual::kOutput,
    {Role::kRopeFactors, false, "rope_freqs", "", RowOrder::kSame, /*optional=*/true},
    usual::kAttentionNorm,
    {Role::kQuery, true, "attn_q", "self_attn.q_proj", RowOrder::kPairsOfQueryHeads},
    {Role::kKey, true, "attn_k", "self_attn.k_proj", RowOrder::kPairsOfKeyHeads},
    usual::kValue,
    usual::kAttentionOutput,
    usual::kFeedForwardNorm,
    usual::kGate,
    usual::kUp,
    usual::kDown,
    {Role::kRouter, true, "ffn_gate_inp", "block_sparse_moe.gate"},
    {Role::kExpertGate, true, "ffn_gate_exps", "block_sparse_moe.experts.*.w1"},
    {Role::kExpertUp, true, "ffn_up_exps", "block_sparse_moe.experts.*.w3"},
    {Role::kExpertDown, true, "ffn_down_exps", "block_sparse_moe.experts.*.w2"},
};

}  // namespace

extern const Architecture kArchitecture_llama;
constinit const Architecture kArchitecture_llama{
    .name = "llama",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kInterleaved,
    .hf_rope = RopeStyle::kHalves,
    .hf_biases = {.attention = true, .feed_forward = true},
};

}  // namespace halftone
