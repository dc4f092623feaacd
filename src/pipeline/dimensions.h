// The dimensions of a model as far as memory depends on them: from its metadata, or a guess from a
// number of parameters alone.
//
// The guess interpolates between published models, each dimension on its own and on a logarithmic
// scale, since depth and width grow by powers of the size. It tells how large a KV cache and which
// share of the weights the embedding are in a model of that size, not what any certain model has.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "grid/grid.h"
#include "pipeline/source.h"

namespace halftone {

struct ModelDimensions {
  int64_t layers = 0;
  int64_t width = 0;  // of the residual stream
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t feed_forward = 0;  // of the experts that a token uses, where there are some
  int64_t vocabulary = 0;
  bool tied = false;         // the embedding is the head too
  int64_t experts_used = 0;  // by each token; 0: no experts

  // Of a llama with these dimensions.
  int64_t Parameters() const;
};

struct KnownModel {
  std::string_view name;
  ModelDimensions dimensions;
};

// From few parameters to many.
std::span<const KnownModel> KnownModels();

// A plausible llama of about that many parameters (> 0).
ModelDimensions TypicalDimensions(int64_t parameters);

// The tensors of a llama with these dimensions, in file order: names and shapes, no data.
std::vector<Tensor> TensorsOf(const ModelDimensions& dimensions);

// What the metadata says; 0 where it says nothing. Throws Error (kFormat) naming the key for a
// number out of range.
ModelDimensions DimensionsOf(const Source& source);

// Keys and values of `context` tokens in all layers on `grid`, each head whole blocks. Throws Error
// (kUsage) if the number does not fit 64 bits.
uint64_t KvCacheBytes(const ModelDimensions& dimensions, int64_t context, const Grid& grid);

// Tokens that the engine runs at once while it reads a prompt.
inline constexpr int64_t kPromptBatch = 512;

// The engine's buffers (f32) for a batch of so many tokens, and one row of logits.
uint64_t ActivationBytes(const ModelDimensions& dimensions, int64_t batch);

}  // namespace halftone
