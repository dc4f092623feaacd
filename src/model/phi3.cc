// phi3: Phi 3, 3.5 and 4 (Abdin et al. 2024, arXiv:2404.14219). As Llama, with query, key and value
// in one matrix and gate and up in one; long contexts turn positions more slowly, each pair by a
// factor of its own (Ding et al. 2024, arXiv:2402.13753). llama.cpp ignores the window.

#include "model/architecture.h"
#include "model/usual_roles.h"

namespace halftone {
namespace {

constexpr ConfigDefault kPhi3[] = {{"rms_norm_eps", 1e-5},
                                   {"max_position_embeddings", 4096},
                                   {"original_max_position_embeddings", 4096}};

constexpr HfClass kClasses[] = {
    {"Phi3ForCausalLM", "phi3", kPhi3, /*windows=*/true},
};

constexpr RoleName kRoles[] = {
    usual::kTokenEmbedding,
    usual::kOutputNorm,
    usual::kOutput,
    {Role::kRopeFactorsLong, false, "rope_factors_long", "", RowOrder::kSame, /*optional=*/true},
    {Role::kRopeFactorsShort, false, "rope_factors_short", "", RowOrder::kSame, /*optional=*/true},
    usual::kAttentionNorm,
    {Role::kQueryKeyValue, true, "attn_qkv", "self_attn.qkv_proj"},
    usual::kAttentionOutput,
    usual::kFeedForwardNorm,
    {Role::kGateUp, true, "ffn_up", "mlp.gate_up_proj"},
    usual::kDown,
};

}  // namespace

extern const Architecture kArchitecture_phi3;
constinit const Architecture kArchitecture_phi3{
    .name = "phi3",
    .hf_classes = kClasses,
    .roles = kRoles,
    .gguf_rope = RopeStyle::kHalves,
    .hf_rope = RopeStyle::kHalves,
    .rope_of_part = true,
};

}  // namespace halftone
