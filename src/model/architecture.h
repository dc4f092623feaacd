// Architectures as data: what a family of models is called, which tensors it has and how they are
// named in both dialects. One file and one line in architectures.def each.

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
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kAttentionOutput,
  kFeedForwardNorm,
  kGate,
  kUp,
  kDown,
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
  std::string_view hf;    // without "model.layers.N." and ".weight"
  RowOrder order = RowOrder::kSame;
  bool optional = false;
};

struct Architecture {
  std::string_view name;                         // general.architecture of GGUF: "llama"
  std::span<const std::string_view> hf_classes;  // architectures[0] of config.json
  std::span<const RoleName> roles;
  RopeStyle gguf_rope;
  RopeStyle hf_rope;
};

// All architectures, in the order of architectures.def.
std::span<const Architecture* const> AllArchitectures();

// The architecture that the checkpoint says it is. Throws Error: kFormat if it does not say,
// kUnsupported naming it if it is unknown.
const Architecture& ArchitectureOf(const Checkpoint& checkpoint);

// As ArchitectureOf, but null for an architecture that is not known.
const Architecture* FindArchitecture(const Checkpoint& checkpoint);

}  // namespace halftone
