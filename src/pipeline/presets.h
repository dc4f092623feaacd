// Presets: named mixes of grids over the tensors of a model, with the tensor rules of llama.cpp.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/checkpoint.h"

namespace halftone {

struct Preset {
  std::string_view name;     // "q4_k_m"
  std::string_view summary;  // one line for the help text
  std::string_view base;     // the name of the grid that most tensors get
  int gguf_file_type;        // general.file_type
};

// The mixes proper, then one for each remaining writable grid.
std::span<const Preset> AllPresets();
// Null where there is none. Also finds the presets that stand for single grids.
const Preset* FindPreset(std::string_view name);

// What `compare` tries when nothing is asked for: from about 8 to 2 bits.
std::span<const std::string_view> ComparisonPresets();

struct TensorChoice {
  const Grid* grid = nullptr;  // of the output
  bool quantize = false;       // false: copied as it is
  std::string note;            // why the grid is not the preset's, or empty
};

// The shape of a model as far as the rules depend on it.
struct ModelShape {
  std::string architecture;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t experts = 0;
  bool tied = false;  // there is no output.weight
};

// Chooses a grid for each tensor (in the GGUF dialect), in the order in which llama-quantize writes
// them: sorted by layer, then name; the returned choices parallel `tensors`, which must be so
// sorted. has_importance: an imatrix is given, which changes some rules.
std::vector<TensorChoice> ChooseGrids(const Preset& preset, const ModelShape& shape,
                                      std::span<const Tensor* const> tensors, bool has_importance);

// The preset of that name, or the one that stands for the grid of that name: every writable grid has
// one. A grid that llama-quantize knows as a type (q4_0) follows its mix, exceptions for the output
// and embedding included; any other (q4_k) is put on every quantizable matrix with llama-quantize's
// rule for the output and the shape fallback. Throws Error (kUsage) naming the nearest grid or preset
// for a name that is neither, and for a grid that cannot be written.
const Preset& PresetNamed(std::string_view name);

// Sorts as llama-quantize writes: by layer number (tensors outside layers first), then by name.
void SortForFile(std::vector<const Tensor*>& tensors);

}  // namespace halftone
