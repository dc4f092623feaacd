// rtn: round to nearest, with the grid's own best fit of its scales and no calibration. For the
// grids of GGUF the bytes are identical to those of llama-quantize without an importance matrix.

#include "method/round_rows.h"

namespace halftone {
namespace {

Rounding Round(std::span<const float> weights, int64_t rows, int64_t cols, const Statistics&,
               const Grid& grid, ThreadPool& pool, uint8_t* blocks) {
  RoundRows(weights, rows, cols, {}, grid, pool, blocks);
  return {};
}

}  // namespace

extern const Method kMethod_rtn;
constinit const Method kMethod_rtn{
    "rtn", "round to nearest with the grid's own fit, no calibration", Needs::kNothing, &Round};

}  // namespace halftone
