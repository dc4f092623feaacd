// The parts of an LLM.int8() product (Ops::PrepareInt8 has the equation): rounding tokens, exact
// sums of 8-bit products, and what makes floats of them.
//
// Weights lie in panels of 64 rows, four columns a row at a time, so that one step multiplies four
// columns of 16 (or 8, or 4) rows and no sum crosses lanes:
//
//   codes[((panel * words + c / 4) * 64 + r % 64) * 4 + c % 4] = 128 + level of row r, column c
//
// with words = ceil(cols / 4). The offset of 128 makes them unsigned, which the processor's dot
// products of bytes want; a token's sum of codes times 128 is taken off again. Sums are kept modulo
// 2^32, and the true ones are below 2^31 for kMaxCols columns, so they are exact and equal on every
// instruction set. All floats are computed one operation after another, without fused ones, so that
// the whole product is equal on every instruction set.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "kernel/cpu/isa.h"
#include "tensor/tensor.h"

namespace halftone {

struct Int8Weights {
  static constexpr int64_t kPanel = 64;
  static constexpr int64_t kMaxCols = int64_t{1} << 17;  // times 128 * 127 is below 2^31

  int64_t rows = 0, cols = 0;
  int64_t words = 0;                // of four columns
  std::shared_ptr<float[]> memory;  // of the codes
  std::vector<float> scales;        // [rows up to whole panels]: the largest magnitude of each row

  const uint8_t* panel(int64_t p) const {
    return reinterpret_cast<const uint8_t*>(memory.get()) + p * words * kPanel * 4;
  }
};

// Packs the blocks of a tensor that lies in memory, on a grid with one scale a row (IsAbsmaxRows).
Int8Weights PackInt8(const Tensor& tensor, ThreadPool& pool);

struct Outlier {
  int32_t col;
  float value;
};

// One token, rounded.
struct Int8Token {
  float scale = 0;      // the largest magnitude of what is not out; NaN where a value is not finite
  uint32_t offset = 0;  // 128 * sum of codes, modulo 2^32
  std::vector<Outlier> outliers;  // columns ascending
};

// Rounded tokens. Every token has `words` words of four codes, the last padded with zeros; for
// processors without dot products of bytes they are spread to 16 bits: `even` has the codes of
// columns 4k and 4k + 2 in the halves of word k, `odd` those of 4k + 1 and 4k + 3.
struct Int8Batch {
  std::vector<Int8Token> tokens;
  int64_t stride = 0;  // words between tokens
  std::vector<int32_t> codes, even, odd;
};

// The largest number of tokens that dot takes.
inline constexpr int kInt8Tokens = 6;

struct Int8Ops {
  int tokens;   // that dot is fastest with
  bool spread;  // whether dot reads even and odd instead of codes

  // Rounds x [cols] to token t of the batch, whose buffers are large enough.
  void (*round)(const float* x, int64_t cols, float threshold, int64_t t, Int8Batch& batch);

  // sums[t - first][r] = sum over columns of code(t) * (128 + level(r)) for `count` tokens from
  // `first` on and the 64 rows of a panel; modulo 2^32.
  void (*dot)(const uint8_t* panel, int64_t words, const Int8Batch& batch, int64_t first, int count,
              int32_t* sums);

  // y[r] = (sums[r] - offset) * (scale * scales[r]) / 127^2
  //        + sum over outliers of value * level(r, col) * scales[r] / 127, for 64 rows.
  void (*finish)(const uint8_t* panel, const int32_t* sums, const Int8Token& token,
                 const float* scales, float* y);
};

// `bytes` asks for the processor's dot products of bytes where it has them (results are the same).
const Int8Ops& Int8OpsFor(Isa isa, bool bytes = true);

}  // namespace halftone
