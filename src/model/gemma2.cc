// gemma2: Gemma 2 (Gemma team 2024, arXiv:2408.00118). Norms also of what attention and
// feed-forward add, scores and logits soft-capped, every other layer looks back by a window, GeLU
// in tanh's approximation. Hugging Face multiplies norms by 1 + w; GGUF keeps 1 + w.

#include "model/architecture.h"
#include "model/usual_roles.h"

namespace halftone {
namespace {

constexpr ConfigDefault kGemma2[] = {
    {"num_attention_heads", 8}, {"num_key_value_heads", 4},        {"head_dim", 256},
    {"vocab_size", 256000},     {"max_position_embeddings", 8192}, {"query_pre_attn_scalar", 256},
    {"sliding_window", 4096},   {"attn_logit_softcapping", 50},    {"final_logit_softcapping", 30},
    {"tie_word_embeddings", 1}};

constexpr HfClass kClasses[] = {
    {"Gemma2ForCausalLM", "gemma2", kGemma2, /*windows=*/true},
};

constexpr RoleName kRoles[] = {
    usual::kTokenEmbedding,
    usual::kOutputNorm,
    usual::kOutput,
    usual::kAttentionNorm,
    usual::kQuery,
    usual::kKey,
    usual::kValue,
    usual::kAttentionOutput,
    {Role::kAttentionPostNorm, true, "post_attention_norm", "post_attention_layernorm"},
    {Role::kFeedForwardNorm, true, "ffn_norm", "pre_feedforward_layernorm"},
    usual::kGate,
    usual::kUp,
    usual::kDown,
    {Role::kFeedForwardPostNorm, true, "post_ffw_norm", "post_feedforward_layernorm"},
};

}  // namespace

extern const Architecture kArchitecture_gemma2;
constinit const Architecture kArchitecture_gemma2{
    .name = "gemma2",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
    .activation = Activation::kGeluTanh,
    .norm_offset = 1,
    .scales_embedding = true,
    .window_period = 2,
    .gguf_window = 4096,
    .width_scaled_layers = 46,
    .hf_biases = {.attention = true},
    .hf_activation_key = "hidden_activation",
};

}  // namespace halftone
