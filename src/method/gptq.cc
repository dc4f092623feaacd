// gptq: error feedback. Each column's rounding error is made good by the columns that follow, as
// the inputs' correlations allow (Frantar et al. 2022, arXiv:2210.17323), on every grid whose
// weights are rounded one by one. The search of each group's scale is part of the feedback
// (feedback.h).
//
// The statistics are of the model as far as it is rounded already, as in GPTQ's own code.

#include "method/feedback.h"
#include "method/round_feedback.h"

namespace halftone {
namespace {

Rounding Round(std::span<const float> weights, int64_t rows, int64_t cols,
               const Statistics& statistics, const Grid& grid, ThreadPool& pool, uint8_t* blocks) {
  return RoundByGram(weights, rows, cols, statistics, 0, grid, pool, blocks);
}

}  // namespace

extern const Method kMethod_gptq;
constinit const Method kMethod_gptq{
    "gptq", "error feedback between columns, scales searched inside it", Needs::kGram, &Round};

}  // namespace halftone
