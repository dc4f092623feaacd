// imatrix: round to nearest, but the fit of the scales weighs each column by the mean square of the
// activations that meet it, E[x^2]. For the grids of GGUF the same search as llama-quantize with an
// importance matrix. A tensor without statistics is rounded as by rtn, as llama-quantize does.

#include "method/round_feedback.h"
#include "method/round_rows.h"

namespace halftone {
namespace {

Rounding Round(std::span<const float> weights, int64_t rows, int64_t cols,
               const Statistics& statistics, const Grid& grid, ThreadPool& pool, uint8_t* blocks) {
  RoundRows(weights, rows, cols, Importances(statistics, cols), grid, pool, blocks);
  return {};
}

}  // namespace

extern const Method kMethod_imatrix;
constinit const Method kMethod_imatrix{
    "imatrix", "round to nearest, scales weighted by the mean square of the activations",
    Needs::kMeanSquare, &Round};

}  // namespace halftone
