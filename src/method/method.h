// AXIS: what a method is.
//
// A method decides which point of the grid each weight becomes. It sees one tensor at a time as f32
// rows, what calibration found out about its inputs, and the grid's encode; it knows neither names
// of grids nor containers. See docs/adding-a-method.md.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/thread_pool.h"
#include "grid/grid.h"

namespace halftone {

// What a method wants calibration to measure.
enum class Needs : uint8_t {
  kNothing,
  kMeanSquare,  // E[x^2] of each input column
};

// What is known about the inputs of a tensor.
struct Statistics {
  // E[x^2] for each column, [matrices, cols] for a stack of expert matrices, or empty for none.
  std::span<const float> mean_square;
};

struct Method {
  std::string_view name;     // as on the command line: "rtn"
  std::string_view summary;  // one line for the help text
  Needs needs;

  // Rounds weights [rows, cols] (row-major; cols is a multiple of grid.block) to rows of blocks at
  // `blocks`. The result does not depend on the number of threads. statistics.mean_square has cols
  // values or none. Throws Error (kUsage) if the grid requires an importance that is not there.
  void (*round)(std::span<const float> weights, int64_t rows, int64_t cols,
                const Statistics& statistics, const Grid& grid, ThreadPool& pool, uint8_t* blocks);
};

// All methods, in the order of methods.def.
std::span<const Method* const> AllMethods();

// Throws Error (kUsage) naming the nearest for a name that does not exist.
const Method& MethodNamed(std::string_view name);

}  // namespace halftone
