// llama: Llama 1 to 3, TinyLlama, SmolLM, Mistral, Mixtral. Pre-norm decoder with RMS norms, rotary
// positions, grouped-query attention and a gated SiLU feed-forward (Touvron et al. 2023,
// arXiv:2302.13971 and arXiv:2307.09288); Mistral's layers look back by a window (Jiang et al.
// 2023, arXiv:2310.06825), Mixtral's feed-forward is a few of several experts (Jiang et al. 2024,
// arXiv:2401.04088). llama.cpp knows no window for this architecture.

#include "model/architecture.h"

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
    {Role::kTokenEmbedding, false, "token_embd", "model.embed_tokens"},
    {Role::kOutputNorm, false, "output_norm", "model.norm"},
    {Role::kOutput, false, "output", "lm_head", RowOrder::kSame, /*optional=*/true},
    {Role::kRopeFactors, false, "rope_freqs", "", RowOrder::kSame, /*optional=*/true},
    {Role::kAttentionNorm, true, "attn_norm", "input_layernorm"},
    {Role::kQuery, true, "attn_q", "self_attn.q_proj", RowOrder::kPairsOfQueryHeads},
    {Role::kKey, true, "attn_k", "self_attn.k_proj", RowOrder::kPairsOfKeyHeads},
    {Role::kValue, true, "attn_v", "self_attn.v_proj"},
    {Role::kAttentionOutput, true, "attn_output", "self_attn.o_proj"},
    {Role::kFeedForwardNorm, true, "ffn_norm", "post_attention_layernorm"},
    {Role::kGate, true, "ffn_gate", "mlp.gate_proj"},
    {Role::kUp, true, "ffn_up", "mlp.up_proj"},
    {Role::kDown, true, "ffn_down", "mlp.down_proj"},
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
