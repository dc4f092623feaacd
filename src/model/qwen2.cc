// qwen2: Qwen 2 and 2.5. As Llama, with biases on query, key and value (Qwen team 2024,
// arXiv:2407.10671). llama.cpp knows no window for this architecture.

#include "model/architecture.h"

namespace halftone {
namespace {

constexpr ConfigDefault kQwen2[] = {
    {"use_sliding_window", 0}, {"sliding_window", 4096}, {"max_window_layers", 28}};

constexpr HfClass kClasses[] = {
    {"Qwen2ForCausalLM", "qwen2", kQwen2, /*windows=*/true},
};

constexpr RoleName kRoles[] = {
    {Role::kTokenEmbedding, false, "token_embd", "model.embed_tokens"},
    {Role::kOutputNorm, false, "output_norm", "model.norm"},
    {Role::kOutput, false, "output", "lm_head", RowOrder::kSame, /*optional=*/true},
    {Role::kAttentionNorm, true, "attn_norm", "input_layernorm"},
    {Role::kQuery, true, "attn_q", "self_attn.q_proj"},
    {Role::kKey, true, "attn_k", "self_attn.k_proj"},
    {Role::kValue, true, "attn_v", "self_attn.v_proj"},
    {Role::kAttentionOutput, true, "attn_output", "self_attn.o_proj"},
    {Role::kFeedForwardNorm, true, "ffn_norm", "post_attention_layernorm"},
    {Role::kGate, true, "ffn_gate", "mlp.gate_proj"},
    {Role::kUp, true, "ffn_up", "mlp.up_proj"},
    {Role::kDown, true, "ffn_down", "mlp.down_proj"},
};

}  // namespace

extern const Architecture kArchitecture_qwen2;
constinit const Architecture kArchitecture_qwen2{
    .name = "qwen2",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
};

}  // namespace halftone
