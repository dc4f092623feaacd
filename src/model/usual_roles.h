// Roles under the names that most architectures give them, for their tables.

#pragma once

#include "model/architecture.h"

namespace halftone::usual {

inline constexpr RoleName kTokenEmbedding{Role::kTokenEmbedding, false, "token_embd",
                                          "model.embed_tokens"};
inline constexpr RoleName kOutputNorm{Role::kOutputNorm, false, "output_norm", "model.norm"};
inline constexpr RoleName kOutput{Role::kOutput, false,           "output",
                                  "lm_head",     RowOrder::kSame, /*optional=*/true};

inline constexpr RoleName kAttentionNorm{Role::kAttentionNorm, true, "attn_norm",
                                         "input_layernorm"};
inline constexpr RoleName kQuery{Role::kQuery, true, "attn_q", "self_attn.q_proj"};
inline constexpr RoleName kKey{Role::kKey, true, "attn_k", "self_attn.k_proj"};
inline constexpr RoleName kValue{Role::kValue, true, "attn_v", "self_attn.v_proj"};
inline constexpr RoleName kQueryNorm{Role::kQueryNorm, true, "attn_q_norm", "self_attn.q_norm"};
inline constexpr RoleName kKeyNorm{Role::kKeyNorm, true, "attn_k_norm", "self_attn.k_norm"};
inline constexpr RoleName kAttentionOutput{Role::kAttentionOutput, true, "attn_output",
                                           "self_attn.o_proj"};

inline constexpr RoleName kFeedForwardNorm{Role::kFeedForwardNorm, true, "ffn_norm",
                                           "post_attention_layernorm"};
inline constexpr RoleName kGate{Role::kGate, true, "ffn_gate", "mlp.gate_proj"};
inline constexpr RoleName kUp{Role::kUp, true, "ffn_up", "mlp.up_proj"};
inline constexpr RoleName kDown{Role::kDown, true, "ffn_down", "mlp.down_proj"};

}  // namespace halftone::usual
