// A LoRA adapter (Hu et al. 2021, arXiv:2106.09685): pairs of small matrices that are added to the
// linear layers of a model, y = W x + scale * B A x.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/weights.h"
#include "training/training_pass.h"

namespace halftone {

// One pair. Rows are in the order of the model that it was made for (RowOrder).
struct AdapterPart {
  std::string name;       // of the linear layer's tensor, GGUF dialect: "blk.3.attn_q.weight"
  int64_t first_row = 0;  // where the layer is rows of a fused tensor
  int64_t rank = 0;
  int64_t rows = 0;     // of the layer: outputs
  int64_t cols = 0;     // inputs
  float scale = 1;      // alpha / rank
  size_t a = 0;         // where A [rank, cols] begins in the values
  size_t b_turned = 0;  // and the columns of B [rank, rows]
  int64_t group = 1;    // inputs for which A has the same values

  size_t values() const { return static_cast<size_t>(rank * (rows + cols)); }
};

struct Adapter {
  std::vector<AdapterPart> parts;
  std::shared_ptr<std::vector<float>> values;  // of all parts, one behind the other
};

struct AdapterShape {
  int64_t rank = 16;
  float alpha = 32;
  // By the last part of the layer's name in either dialect, "q_proj" or "attn_q"; empty: every
  // linear layer inside the layers, routers and experts included.
  std::vector<std::string> targets;
  uint64_t seed = 0;
};

// As peft begins: A uniform in +-1/sqrt(cols), B zero, so that nothing changes yet. Throws Error
// (kUsage) naming a target that the model does not have, for experts' gates without their ups, and
// where rank or alpha are not above 0.
Adapter MakeAdapter(const ModelWeights& model, const AdapterShape& shape);

// Has each row of the part's A say the same for each `group` inputs, which divide them: what it
// says for the first of them.
void ShareInGroups(AdapterPart& part, int64_t group, std::span<float> values);

// The mean within each part's groups, of values or of derivatives by them.
void AverageInGroups(const Adapter& adapter, std::span<float> values);

// Adds the parts to the model's layers, which read the adapter's values from then on. Throws Error
// (kFormat), naming `source`, for a part that the model has no layer for or another shape of.
void Attach(const Adapter& adapter, ModelWeights& model, const std::string& source);

// Where the derivatives of each attached part go: as the adapter's values, in `gradients`.
LowRankGradients GradientsOf(const Adapter& adapter, const ModelWeights& model,
                             std::span<float> gradients);

}  // namespace halftone
