// gemma3: the text model of Gemma 3 (Gemma team 2025, arXiv:2503.19786). As Gemma 2 with norms on
// each head's query and key in place of soft caps; five layers of six look back by a window, and
// these turn their positions by another base than the sixth.

#include "model/architecture.h"
#include "model/usual_roles.h"

namespace halftone {
namespace {

constexpr ConfigDefault kGemma3[] = {{"num_attention_heads", 8},
                                     {"num_key_value_heads", 4},
                                     {"head_dim", 256},
                                     {"vocab_size", 262208},
                                     {"max_position_embeddings", 131072},
                                     {"query_pre_attn_scalar", 256},
                                     {"sliding_window", 4096},
                                     {"rope_theta", 1e6},
                                     {"tie_word_embeddings", 1}};

constexpr HfClass kClasses[] = {
    {"Gemma3ForCausalLM", "gemma3_text", kGemma3, /*windows=*/true},
    {"Gemma3ForConditionalGeneration", "gemma3", kGemma3, /*windows=*/true},
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
    {Role::kAttentionPostNorm, true, "post_attention_norm", "post_attention_layernorm"},
    {Role::kFeedForwardNorm, true, "ffn_norm", "pre_feedforward_layernorm"},
    usual::kGate,
    usual::kUp,
    usual::kDown,
    {Role::kFeedForwardPostNorm, true, "post_ffw_norm", "post_feedforward_layernorm"},
};

}  // namespace

extern const Architecture kArchitecture_gemma3;
constinit const Architecture kArchitecture_gemma3{
    .name = "gemma3",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
    .activation = Activation::kGeluTanh,
    .norm_offset = 1,
    .scales_embedding = true,
    .window_period = 6,
    .window_rope_base = 10000,
    .width_scaled_layers = 62,
    .hf_biases = {.attention = true},
    .hf_activation_key = "hidden_activation",
};

}  // namespace halftone
