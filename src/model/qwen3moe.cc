// qwen3moe: Qwen 3 whose feed-forward is a few of many experts (Qwen team 2025, arXiv:2505.09388).
// llama.cpp always lets the weights of the chosen experts sum to 1.

#include "model/architecture.h"

namespace halftone {
namespace {

constexpr ConfigDefault kQwen3Moe[] = {{"num_key_value_heads", 4}, {"use_sliding_window", 0},
                                       {"sliding_window", 4096},   {"num_experts", 128},
                                       {"num_experts_per_tok", 8}, {"moe_intermediate_size", 768},
                                       {"norm_topk_prob", 0}};

constexpr HfClass kClasses[] = {
    {"Qwen3MoeForCausalLM", "qwen3_moe", kQwen3Moe, /*windows=*/true, /*experts=*/true},
};

constexpr RoleName kRoles[] = {
    {Role::kTokenEmbedding, false, "token_embd", "model.embed_tokens"},
    {Role::kOutputNorm, false, "output_norm", "model.norm"},
    {Role::kOutput, false, "output", "lm_head", RowOrder::kSame, /*optional=*/true},
    {Role::kAttentionNorm, true, "attn_norm", "input_layernorm"},
    {Role::kQuery, true, "attn_q", "self_attn.q_proj"},
    {Role::kKey, true, "attn_k", "self_attn.k_proj"},
    {Role::kValue, true, "attn_v", "self_attn.v_proj"},
    {Role::kQueryNorm, true, "attn_q_norm", "self_attn.q_norm"},
    {Role::kKeyNorm, true, "attn_k_norm", "self_attn.k_norm"},
    {Role::kAttentionOutput, true, "attn_output", "self_attn.o_proj"},
    {Role::kFeedForwardNorm, true, "ffn_norm", "post_attention_layernorm"},
    {Role::kRouter, true, "ffn_gate_inp", "mlp.gate"},
    {Role::kExpertGate, true, "ffn_gate_exps", "mlp.experts.*.gate_proj"},
    {Role::kExpertUp, true, "ffn_up_exps", "mlp.experts.*.up_proj"},
    {Role::kExpertDown, true, "ffn_down_exps", "mlp.experts.*.down_proj"},
};

}  // namespace

extern const Architecture kArchitecture_qwen3moe;
constinit const Architecture kArchitecture_qwen3moe{
    .name = "qwen3moe",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
    .hf_biases = {.attention = true},
};

}  // namespace halftone
