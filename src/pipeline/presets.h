// Presets: named mixes of grids over the tensors of a model.
//
// llama-quantize puts more bits where errors hurt most (the output, attention values, down
// projections, the first and last layers) and calls each such mix by a name of its own. Its choices
// are rows in presets.def, so that the same name gives the same grids here. A name of a grid that
// is no such mix stands for that grid on every quantizable matrix: only the rules for the output
// and the embedding and the fallback for narrow rows remain, as the format's readers expect. Plain
// grids (halves, floats) know no exceptions at all; vectors always stay as they are.
//
// Not followed: what llama-quantize does for single architectures other than falcon, and its
// refusal of two-level grids for narrow rows, which get halves here.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/checkpoint.h"

namespace halftone {

struct Preset {
  std::string_view name;     // as on the command line
  std::string_view summary;  // one line for the help text
  std::string_view base;     // the name of the grid that most tensors get
  int gguf_file_type;        // general.file_type, or -1 where there is none
  bool mix;                  // false: stands for one grid
  bool advised;              // the best of its size
};

// The mixes proper, from many bits to few, then one for each remaining writable grid. Mixes that
// need a grid which cannot be written are left out.
std::span<const Preset> AllPresets();
// The mixes alone, also those that need a grid which can only be read.
std::span<const Preset> AllMixes();
// Null where there is none. Also finds the presets that stand for single grids.
const Preset* FindPreset(std::string_view name);

// What `compare` tries when nothing is asked for: from about 8 to 2 bits.
std::span<const std::string_view> ComparisonPresets();

struct TensorChoice {
  const Grid* grid = nullptr;     // of the output
  bool quantize = false;          // false: copied as it is
  std::string note;               // why the grid is not the preset's, or empty
  bool needs_importance = false;  // llama-quantize refuses the tensor without importances
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

// The preset of that name in upper or lower case. Throws Error (kUsage) naming the nearest for a
// name that is neither a preset nor a grid, and for what cannot be written.
const Preset& PresetNamed(std::string_view name);

// The grid that most of a preset's tensors get. Where its groups are whole rows, that of any row
// stands for all.
const Grid& BaseGrid(const Preset& preset);

// Sorts as llama-quantize writes: by layer number (tensors outside layers first), then by name.
void SortForFile(std::vector<const Tensor*>& tensors);

}  // namespace halftone
