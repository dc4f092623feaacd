// qwen3: dense Qwen 3. As Qwen 2 without biases, with norms on each head's query and key (Qwen team
// 2025, arXiv:2505.09388). llama.cpp knows no window for this architecture.

#include "model/architecture.h"

namespace halftone {
namespace {

constexpr ConfigDefault kQwen3[] = {{"head_dim", 128},
                                    {"use_sliding_window", 0},
                                    {"sliding_window", 4096},
                                    {"max_window_layers", 28}};

constexpr HfClass kClasses[] = {
    {"Qwen3ForCausalLM", "qwen3", kQwen3, /*windows=*/true},
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
    {Role::kGate, true, "ffn_gate", "mlp.gate_proj"},
    {Role::kUp, true, "ffn_up", "mlp.up_proj"},
    {Role::kDown, true, "ffn_down", "mlp.down_proj"},
};

}  // namespace

extern const Architecture kArchitecture_qwen3;
constinit const Architecture kArchitecture_qwen3{
    .name = "qwen3",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
    .hf_biases = {.attention = true},
};

}  // namespace halftone
