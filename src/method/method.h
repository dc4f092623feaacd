// AXIS: what a method is.
//
// A method decides which point of the grid each weight becomes. It sees one tensor at a time as f32
// rows, what calibration found out about its inputs, and the grid's faces for methods; it knows
// neither names of grids nor containers. See docs/adding-a-method.md.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "grid/grid.h"

namespace halftone {

// What a method wants calibration to measure.
enum class Needs : uint8_t {
  kNothing,
  kMeanSquare,  // E[x^2] of each input column
  kGram,        // E[x x^T], the inputs being those of the model as far as it is rounded already
  kDrift,       // the same, E[(x0 - x) x^T], and both on tokens that were held back
};

// What is known about the inputs of a tensor. Empty: nothing.
struct Statistics {
  std::span<const float> mean_square;  // [cols]: E[x^2]
  std::span<const float> gram;         // [cols, cols]: E[x x^T]
  int64_t tokens = 0;                  // that the two above (and drift) are means over
  // [cols, cols]: E[(x0 - x) x^T], x0 being what the original model feeds in. Row: x0 - x.
  std::span<const float> drift;
  // The same on tokens that took no part in the two above.
  std::span<const float> held_gram;
  std::span<const float> held_drift;
};

// What a method did with one tensor.
struct Rounding {
  double damping = 0;  // of the Gram matrix, relative to its mean diagonal; 0 where there is none
  std::string note;    // what went otherwise than asked for, or empty
};

struct Method {
  std::string_view name;     // as on the command line: "rtn"
  std::string_view summary;  // one line for the help text
  Needs needs;

  // Rounds weights [rows, cols] (row-major; cols is a multiple of grid.block) to rows of blocks at
  // `blocks`. The result does not depend on the number of threads. Throws Error (kUsage) if the
  // grid requires an importance that is not there.
  Rounding (*round)(std::span<const float> weights, int64_t rows, int64_t cols,
                    const Statistics& statistics, const Grid& grid, ThreadPool& pool,
                    uint8_t* blocks);
};

// All methods, in the order of methods.def.
std::span<const Method* const> AllMethods();

// Throws Error (kUsage) naming the nearest for a name that does not exist.
const Method& MethodNamed(std::string_view name);

}  // namespace halftone
