// What may happen to a model before its weights are rounded: its function stays, but its weights
// become easier to round. A transform composes with any method: "awq+gptq".
//
// The one kind there is scales the input channels of the linear layers of a stage, and takes the
// inverse into whatever comes before them (model/fold.h).

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "grid/grid.h"
#include "method/method.h"

namespace halftone {

// One of the linear layers that share an input.
struct ScaledLinear {
  std::span<const float> weights;  // [rows, n]
  const Grid* grid = nullptr;      // that it will be rounded to
  int64_t rows = 0;
};

struct ScaleProblem {
  std::vector<ScaledLinear> linears;
  int64_t n = 0;                // columns: input channels
  std::span<const float> gram;  // [n, n]: E[x x^T]
  // [n]: columns that name the same source have to be scaled alike, because one value feeds them.
  std::span<const int32_t> source;
};

struct Transform {
  std::string_view name;     // as on the command line: "awq"
  std::string_view summary;  // one line for the help text
  std::string_view method;   // rounds where no method is named beside the transform

  // The factor of each column, [n], all > 0; ones where nothing is gained. Does not depend on the
  // number of threads.
  std::vector<float> (*scales)(const ScaleProblem& problem, ThreadPool& pool);
};

// All transforms, in the order of transforms.def.
std::span<const Transform* const> AllTransforms();

// How a model is rounded: perhaps transformed, then rounded.
struct Recipe {
  const Transform* transform = nullptr;  // null: none
  const Method* method = nullptr;

  // What calibration has to measure: transforms look at Gram matrices.
  Needs needs() const;
};

// "gptq", "awq" or "awq+gptq". Throws Error (kUsage) naming the nearest for what does not exist.
Recipe RecipeNamed(std::string_view name);

}  // namespace halftone
