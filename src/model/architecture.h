// Architectures as data: what a family of models is called, which tensors it has, how they are
// named in both dialects, and what the forward pass does differently for it. One file and one line
// in architectures.def each; docs/adding-an-architecture.md says how.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/ops.h"
#include "tensor/checkpoint.h"

namespace halftone {

// What a tensor does in the model.
enum class Role : uint8_t {
  kTokenEmbedding,
  kOutputNorm,
  kOutput,
  kRopeFactors,
  kRopeFactorsLong,   // beyond the original context
  kRopeFactorsShort,  // within it
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kQueryKeyValue,  // the three in one, their rows one behind the other
  kQueryNorm,      // of each head
  kKeyNorm,
  kAttentionOutput,
  kAttentionPostNorm,  // of what attention adds to the residual stream
  kFeedForwardNorm,
  kGate,
  kUp,
  kGateUp,  // the two in one, the gate first
  kDown,
  kFeedForwardPostNorm,
  kRouter,      // one row for each expert
  kExpertGate,  // of all experts: [experts, rows, cols] in GGUF, a tensor for each in Hugging
                // Face's
  kExpertUp,
  kExpertDown,
};

// How the rows of a Hugging Face matrix are ordered in GGUF.
enum class RowOrder : uint8_t {
  kSame,
  // Within each head of D rows, GGUF row 2i+j is Hugging Face row j*D/2+i: rotary pairs lie side by
  // side instead of half a head apart. Heads are the query heads or the key heads.
  kPairsOfQueryHeads,
  kPairsOfKeyHeads,
};

struct RoleName {
  Role role;
  bool per_layer;
  std::string_view gguf;  // without "blk.N." and ".weight"
  std::string_view hf;    // without "model.layers.N." and ".weight"; "*": the expert's number
  RowOrder order = RowOrder::kSame;
  bool optional = false;
};

// A number of config.json that transformers assumes where it is missing.
struct ConfigDefault {
  std::string_view key;
  double value;
};

// A class of transformers.
struct HfClass {
  std::string_view name;        // architectures[0] of config.json
  std::string_view model_type;  // model_type of config.json
  std::span<const ConfigDefault> defaults = {};
  bool windows = false;  // it may have layers that look back a limited number of tokens
  bool experts = false;  // it has experts
};

// Tensors that config.json says the biases of.
struct HfBiases {
  bool attention = false;     // "attention_bias": query, key, value and output
  bool feed_forward = false;  // "mlp_bias"
};

// What multiplies the values that pass the feed-forward.
enum class Activation : uint8_t { kSilu, kGeluTanh };

struct Architecture {
  std::string_view name;  // general.architecture of GGUF: "llama"
  // The first that can say what a model is names it in a config.json that is written.
  std::span<const HfClass> hf_classes;
  std::span<const RoleName> roles;
  RopeStyle gguf_rope;
  RopeStyle hf_rope;
  Activation activation = Activation::kSilu;
  // GGUF's weights of norms are larger by this than Hugging Face's, which multiply by 1 + w.
  float norm_offset = 0;
  bool scales_embedding = false;  // by sqrt(width)
  // Where a file has a window but does not say which layers look back by it only: of so many
  // layers the last sees everything. 1: none does; 0: all look back by it.
  int64_t window_period = 0;
  int64_t gguf_window = 0;     // tokens that a layer with a window sees where GGUF does not say
  float window_rope_base = 0;  // of these layers where a file does not say; 0: as the others
  bool rope_of_part = false;   // partial_rotary_factor of config.json counts
  // Layers of the largest model, whose scores are divided by sqrt(width / heads) where a GGUF file
  // does not say otherwise; 0: no such model.
  int64_t width_scaled_layers = 0;
  HfBiases hf_biases = {};
  std::string_view hf_activation_key = "hidden_act";
};

// All architectures, in the order of architectures.def.
std::span<const Architecture* const> AllArchitectures();

// The architecture that the checkpoint says it is. Throws Error: kFormat if it does not say,
// kUnsupported naming it if it is unknown, if the file is no model (file_kind.h), and if its
// weights are quantized by a method that no container reads.
const Architecture& ArchitectureOf(const Checkpoint& checkpoint);

// As ArchitectureOf, but null for an architecture that is not known.
const Architecture* FindArchitecture(const Checkpoint& checkpoint);

// Null where the architecture has no such role.
const RoleName* FindRole(const Architecture& architecture, Role role);

// By its role, the weight of a norm, or of the experts.
bool IsNorm(Role role);
bool IsExpert(Role role);

}  // namespace halftone
