// Searches for the scale (and minimum) with which a small group of weights loses least when it is
// rounded to a few integer levels. Grids of two-level scales are built from these.
//
// Sixteen groups are searched side by side, one in each SIMD lane, so that every group sees exactly
// the float operations of a sequential search, in its order: no fused multiply-add, no reassociated
// sum. The result is the same bits on every instruction set. The operation orders are those of
// ggml's reference searches (ggml-quants.c: make_qkx2/3_quants, make_qx_quants, make_q3_quants,
// make_qp_quants), because grids promise bytes equal to ggml's; an algebraically equal but
// differently rounded expression would break that promise.

#pragma once

#include <cstdint>
#include <cstring>

namespace halftone {

inline constexpr int kSearchLanes = 16;     // groups that are searched side by side
inline constexpr int kSearchMaxGroup = 32;  // weights in a group, at most

// How much the error of one weight x counts.
enum class ErrorWeight : uint8_t {
  kMagnitude,            // |x|
  kRmsPlusMagnitude,     // sqrt(mean x^2 of the group) + |x|
  kSquare,               // x^2
  kImportance,           // importance
  kImportanceMagnitude,  // importance * sqrt(variance + x^2)
};

// The groups to search: `count` <= 16 groups of `size` weights each, one after another.
struct SearchGroups {
  const float* x;
  int size;
  int count;
  ErrorWeight weight;
  const float* importance = nullptr;  // [count * size], for the weights that need it
  const float* variance = nullptr;    // [count], for kImportanceMagnitude
};

// x ~ scale * code - minimum, code in 0..levels, minimum >= 0. Tries the inverse scales
// (first + step * s + levels) / range, s in 0..steps; for each the least-squares scale and minimum.
struct AffineSearch {
  int levels;
  float first, step;
  int steps;
  bool absolute;  // the error is |difference| rather than its square
};

struct AffineFit {
  float scale[kSearchLanes];
  float minimum[kSearchLanes];
  float weight[kSearchLanes];  // sum of the weights of the group's errors
  // The codes of the best try: nearest((x - code_offset) * code_inverse), clamped to 0..levels.
  // They matter where the scale itself is rounded to zero afterwards.
  float code_inverse[kSearchLanes];
  float code_offset[kSearchLanes];
};

void FitAffine(const AffineSearch& search, const SearchGroups& groups, AffineFit* fit);

// x ~ scale * code, code in -levels..levels-1. The largest |x| always gets a code near -levels, so
// scale takes its sign. Tries 19 inverse scales near -levels / largest.
struct SymmetricFit {
  float scale[kSearchLanes];
  float weight[kSearchLanes];
  // As AffineFit's; 0 for a group of (nearly) zeros, whose stored codes are all 0.
  float code_inverse[kSearchLanes];
};

void FitSymmetric(int levels, const SearchGroups& groups, SymmetricFit* fit);

// As FitSymmetric for one group, with the candidates rather than the groups in the lanes; also
// gives the codes, shifted by levels to 0..2*levels-1 (all 0 for a group of zeros).
float FitSymmetricOne(int levels, int size, const float* x, const float* weight, uint8_t* codes);

// As FitSymmetric, but starts from one inverse scale and then moves single codes while that lowers
// the error weighted by x^2. Takes twice as many groups at once.
inline constexpr int kGreedyLanes = 2 * kSearchLanes;

struct GreedyFit {
  float scale[kGreedyLanes];
  // Code of weight i of group g, shifted by levels: codes[i * kGreedyLanes + g]; 0 for all of a
  // group of zeros.
  float codes[kSearchMaxGroup * kGreedyLanes];
};

void FitSymmetricGreedy(int levels, const float* x, int size, int count, GreedyFit* fit);

// x ~ scale * code for x >= 0, code in 0..levels: tries 9 inverse scales, then moves single codes.
// Returns the scale. size <= 16.
float FitPositive(int levels, int size, const float* x, const float* weight, uint8_t* codes);

// codes = nearest((x + offset) / divisor) clamped to low..high, minus low; offset and divisor are
// those of the weight's group. Groups whose divisor is 0 are left alone.
void RoundGroups(const float* x, int size, int count, const float* divisor, const float* offset,
                 int low, int high, uint8_t* codes);

// The sum of squares of each of `count` consecutive runs of `size` values, added in order.
void SumSquares(const float* x, int size, int count, float* sums);

// The integer nearest to x, ties to even, by adding 1.5 * 2^23. Beyond 2^22 (and for infinity and
// NaN) it wraps into the 23 bits of a float's mantissa, as ggml's does.
inline int32_t NearestInt(float x) {
  const float shifted = x + 12582912.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return (bits & 0x007FFFFF) - 0x00400000;
}

}  // namespace halftone
