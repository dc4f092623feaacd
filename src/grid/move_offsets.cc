#include "grid/move_offsets.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "grid/grouped.h"

namespace halftone {
namespace {

// Sets the multiples of `unit` nearest to what is subtracted from each group's weights; returns the
// sum of squared errors.
double RoundShifts(std::span<const double> subtracted, float unit, int highest, int16_t* shift) {
  double error = 0;
  for (size_t g = 0; g < subtracted.size(); ++g) {
    const double share = unit > 0 ? std::rint(subtracted[g] / unit) : 0;
    shift[g] = static_cast<int16_t>(std::clamp<double>(share, 0, highest));
    const double off = subtracted[g] - static_cast<double>(unit) * shift[g];
    error += off * off;
  }
  return error;
}

// Of the units that make the largest offset a whole number of them, and the one that was, the one
// that all offsets are nearest to multiples of.
void ChooseShifts(std::span<const double> subtracted, int highest, BlockParameters& parameters) {
  BlockParameters best = parameters;
  double least = RoundShifts(subtracted, parameters.shift_unit, highest, best.shift);
  const double largest = *std::ranges::max_element(subtracted);
  for (int whole = highest; whole > highest / 2 && largest > 0; --whole) {
    BlockParameters tried = parameters;
    tried.shift_unit = RoundToReal(Real::kF16, static_cast<float>(largest / whole));
    const double error = RoundShifts(subtracted, tried.shift_unit, highest, tried.shift);
    if (error >= least) continue;
    least = error;
    best = tried;
  }
  parameters = best;
}

double SquaredError(const Grid& grid, const uint8_t* block, std::span<const float> weights) {
  std::vector<float> decoded(weights.size());
  grid.Decode(block, grid.block, decoded.data());
  double error = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double off = static_cast<double>(decoded[i]) - weights[i];
    error += off * off;
  }
  return error;
}

// One block of `grid`, at first taken apart.
class MovedBlock {
 public:
  explicit MovedBlock(const Grid& grid)
      : grid_(grid),
        scalar_(*grid.scalar),
        codes_(static_cast<size_t>(grid.block)),
        weights_(codes_.size()),
        subtracted_(codes_.size() / static_cast<size_t>(scalar_.group)),
        again_(static_cast<size_t>(grid.bytes)) {}

  void Move(const uint8_t* block, const float* by, uint8_t* out) {
    BlockParameters parameters;
    scalar_.unpack(grid_, block, parameters, codes_.data());
    if (scalar_.shift == ShiftKind::kOwn) {
      parameters.shift_unit += by[0];
      scalar_.pack(grid_, parameters, codes_.data(), out);
      return;
    }
    grid_.Decode(block, grid_.block, weights_.data());
    for (size_t e = 0; e < weights_.size(); ++e) weights_[e] += by[e / scalar_.group];
    for (size_t g = 0; g < subtracted_.size(); ++g) {
      subtracted_[g] = static_cast<double>(parameters.shift_unit) * parameters.shift[g] - by[g];
    }
    ChooseShifts(subtracted_, scalar_.shift_high, parameters);
    scalar_.pack(grid_, parameters, codes_.data(), out);
    if (std::ranges::all_of(subtracted_, [](double s) { return s >= 0; })) return;
    grid_.Encode(weights_.data(), grid_.block, nullptr, again_.data());
    if (SquaredError(grid_, again_.data(), weights_) < SquaredError(grid_, out, weights_)) {
      std::ranges::copy(again_, out);
    }
  }

 private:
  const Grid& grid_;
  const ScalarGrid& scalar_;
  std::vector<uint8_t> codes_;
  std::vector<float> weights_;
  std::vector<double> subtracted_;  // from the weights of each group
  std::vector<uint8_t> again_;
};

}  // namespace

int64_t OffsetGroup(const Grid& grid) {
  const ScalarGrid* scalar = grid.scalar;
  if (scalar == nullptr || scalar->unpack == nullptr) return 0;
  const bool movable = scalar->shift == ShiftKind::kOwn || scalar->shift == ShiftKind::kMultiple;
  return movable ? scalar->group : 0;
}

void MoveOffsets(const Grid& grid, const uint8_t* row, int64_t n, std::span<const float> by,
                 uint8_t* out) {
  MovedBlock block(grid);
  const float* moves = by.data();
  for (int64_t at = 0; at < n; at += grid.block, row += grid.bytes, out += grid.bytes) {
    block.Move(row, moves, out);
    moves += grid.block / grid.scalar->group;
  }
}

}  // namespace halftone
