// llama: Llama 1 to 3, TinyLlama, SmolLM, Mistral. Pre-norm decoder with RMS norms, rotary
// positions, grouped-query attention and a gated SiLU feed-forward (Touvron et al. 2023,
// arXiv:2302.13971 and arXiv:2307.09288).

#include "model/architecture.h"

namespace halftone {
namespace {

constexpr std::string_view kClasses[] = {"LlamaForCausalLM", "MistralForCausalLM"};

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
};

}  // namespace

extern const Architecture kArchitecture_llama;
constinit const Architecture kArchitecture_llama{"llama", kClasses, kRoles, RopeStyle::kInterleaved,
                                                 RopeStyle::kHalves};

}  // namespace halftone
