// qwen3: dense Qwen 3. As Qwen 2 without biases, with norms on each head's query and key (Qwen team
// 2025, arXiv:2505.09388). llama.cpp knows no window for this architecture.

#include "model/architecture.h"
#include "model/usual_roles.h"

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
    usual::kGate,
    usual::kUp,
    usual::kDown,
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
