#include "grid/grid.h"

#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "grid/grouped.h"

namespace halftone {

#define HT_GRID(file, Struct) extern const Grid kGrid_##file;
#include "grid/grids.def"
#undef HT_GRID

namespace {

constexpr const Grid* kGrids[] = {
#define HT_GRID(file, Struct) &kGrid_##file,
#include "grid/grids.def"
#undef HT_GRID
};

}  // namespace

std::span<const Grid* const> AllGrids() { return kGrids; }

const Grid* FindGrid(std::string_view name, int64_t cols) {
  for (const Grid* grid : kGrids) {
    if (grid->name == name) return grid;
  }
  const auto spec = ParseGroupedName(name);
  if (!spec || (spec->group == 0 && cols <= 0)) return nullptr;
  return &GroupedGrid(*spec, cols);
}

const Grid* FindGridByGgufType(int64_t gguf_type) {
  if (gguf_type < 0) return nullptr;
  for (const Grid* grid : kGrids) {
    if (grid->gguf_type == gguf_type) return grid;
  }
  return nullptr;
}

const Grid& GridNamed(std::string_view name) {
  if (const Grid* grid = FindGrid(name)) return *grid;
  std::vector<std::string_view> names;
  for (const Grid* grid : kGrids) names.push_back(grid->name);
  FailUsage("unknown grid '{}'; did you mean '{}'?", name, NearestName(name, names));
}

const Grid& F32Grid() { return kGrid_f32; }

}  // namespace halftone
