// qwen2: Qwen 2 and 2.5. As Llama, with biases on query, key and value (Qwen team 2024,
// arXiv:2407.10671). llama.cpp knows no window for this architecture.

#include "model/architecture.h"
#include "model/usual_roles.h"

namespace halftone {
namespace {

constexpr ConfigDefault kQwen2[] = {
    {"use_sliding_window", 0}, {"sliding_window", 4096}, {"max_window_layers", 28}};

constexpr HfClass kClasses[] = {
    {"Qwen2ForCausalLM", "qwen2", kQwen2, /*windows=*/true},
};

constexpr RoleName kRoles[] = {
    usual::kTokenEmbedding,  usual::kOutputNorm, usual::kOutput, usual::kAttentionNorm,
    usual::kQuery,           usual::kKey,        usual::kValue,  usual::kAttentionOutput,
    usual::kFeedForwardNorm, usual::kGate,       usual::kUp,     usual::kDown,
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
