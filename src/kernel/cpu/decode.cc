#include "kernel/cpu/decode.h"

#include <algorithm>

namespace halftone {

#define HT_GRID(file, Struct) extern const DecodeTable kDecode_##file;
#include "grid/grids.def"
#undef HT_GRID

namespace {

// In the order of grids.def, as AllGrids().
constexpr const DecodeTable* kTables[] = {
#define HT_GRID(file, Struct) &kDecode_##file,
#include "grid/grids.def"
#undef HT_GRID
};

}  // namespace

DecodeFunction DecoderFor(const Grid& grid, Isa isa) {
  const auto grids = AllGrids();
  const auto index = std::ranges::find(grids, &grid) - grids.begin();
  return (*kTables[index])[static_cast<size_t>(isa)];
}

}  // namespace halftone
