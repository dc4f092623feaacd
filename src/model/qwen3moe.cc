// qwen3moe: Qwen 3 whose feed-forward is a few of many experts (Qwen team 2025, arXiv:2505.09388).
// llama.cpp always lets the weights of the chosen experts sum to 1.

#include "model/architecture.h"
#include "model/usual_roles.h"

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
    usual::kTokenEmbedding,
    usual::kOutputNorm,
    usual::kOutput,
    usual::kAttentionNorm,
    usual::kQuery,
    usual::kKey,
    usual::kValue,
    usual::kQueryNorm,
    usual::kKeyNorm,
    usual::kAttentionOutput,
    usual::kFeedForwardNorm,
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
