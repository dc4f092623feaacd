// Between the names of Hugging Face and those of GGUF.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture.h"
#include "model/hyperparameters.h"

namespace halftone {

// A role in a layer (-1: outside the layers) and whether the tensor is its bias.
struct RolePlace {
  const RoleName* role = nullptr;
  int64_t layer = -1;
  bool bias = false;
  int64_t expert = -1;  // of Hugging Face's tensors of experts, which GGUF has in one
};

// "blk.3.attn_q.weight", "model.layers.3.self_attn.q_proj.weight",
// "model.layers.3.mlp.experts.7.up_proj.weight".
std::string NameInDialect(Dialect dialect, const RolePlace& place);
// The same by role; the architecture must have it.
std::string NameInDialect(Dialect dialect, const Architecture& architecture, Role role,
                          int64_t layer, bool bias = false);

// What the tensor of that name is; none for names that the architecture does not have.
std::optional<RolePlace> PlaceOf(const Architecture& architecture, Dialect dialect,
                                 std::string_view name);

// The names of tensors that the architecture has no place for and that hold more than cached
// constants, in the checkpoint's order. Valid as long as the checkpoint's.
std::vector<std::string_view> StrayTensors(const Checkpoint& checkpoint,
                                           const Architecture& architecture);

// Whether it is the weight of a linear layer inside the layers that may be on few levels: a router
// may not.
bool IsLayerLinear(const RolePlace& place);

// A tensor as a GGUF file holds it.
struct GgufTensor {
  Tensor tensor;               // its name in the GGUF dialect; the data still in the source's order
  int64_t permuted_heads = 0;  // heads whose rows must be reordered, 0 for none
};

// All tensors of the checkpoint in the GGUF dialect, in the checkpoint's order: renamed, a tied
// head dropped, buffers that only cache constants left out, rope factors added, the offset added to
// norms, which become f32 as routers do, a layer's experts in one tensor. For a GGUF checkpoint the
// tensors as they are. Throws Error: kUnsupported naming a tensor that the architecture does not
// know, kFormat for experts that do not go together.
std::vector<GgufTensor> GgufTensors(const Checkpoint& checkpoint, const Architecture& architecture,
                                    const Hyperparameters& parameters);

// Throws Error (kFormat) if a Hugging Face checkpoint's config.json and its tensors say different
// things of whether the output matrix is the embedding: tied, but with an output of its own that is
// another; not tied, but without one. A config that says nothing agrees with either.
void CheckTiedHead(const Checkpoint& checkpoint, const Architecture& architecture);

// The heads whose rows are interleaved in GGUF where Hugging Face keeps halves; 0 for none.
int64_t HeadsOf(RowOrder order, const Hyperparameters& parameters);

// The GGUF order of `row` among rows of `heads` heads: the source row it is copied from.
int64_t SourceRow(int64_t row, int64_t rows, int64_t heads);

// The place of each of a tensor's rows in Hugging Face's order: GGUF has those of queries and keys
// in another.
class RowPlaces {
 public:
  RowPlaces() = default;  // the same order
  RowPlaces(Dialect dialect, const RolePlace& place, const Hyperparameters& parameters,
            int64_t rows)
      : rows_(rows),
        heads_(dialect == Dialect::kGguf ? HeadsOf(place.role->order, parameters) : 0) {}

  int64_t operator()(int64_t row) const {
    return heads_ == 0 ? row : SourceRow(row, rows_, heads_);
  }

 private:
  int64_t rows_ = 0, heads_ = 0;
};

}  // namespace halftone
