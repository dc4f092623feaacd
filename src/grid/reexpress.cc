#include "grid/reexpress.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "grid/grouped.h"

namespace halftone {
namespace {

bool IsOneGroup(const Grid& grid) {
  const ScalarGrid* scalar = grid.scalar;
  if (scalar == nullptr || scalar->unpack == nullptr || scalar->group != grid.block) return false;
  return std::ranges::all_of(scalar->levels, [](float level) { return level == std::rint(level); });
}

// Numbers that decoding to f32 does not change.
bool DecodesExactly(const Grid& grid) { return !grid.plain || grid.writable(); }

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// What a block says: step * level + shift.
struct Group {
  float step = 0;
  float shift = 0;
  // The zero that the levels have been freed of, or -1 where the grid has none.
  int zero = -1;
};

// A row, taken apart.
struct Row {
  std::vector<Group> groups;
  std::vector<int> levels;
};

Row TakeApart(const Grid& grid, const uint8_t* blocks, int64_t n) {
  const ScalarGrid& scalar = *grid.scalar;
  Row row;
  row.levels.reserve(static_cast<size_t>(n));
  std::vector<uint8_t> codes(static_cast<size_t>(grid.block));
  for (int64_t at = 0; at < n; at += grid.block, blocks += grid.bytes) {
    BlockParameters parameters;
    scalar.unpack(grid, blocks, parameters, codes.data());
    Group group{parameters.unit, 0, -1};
    if (scalar.shift == ShiftKind::kOwn) group.shift = parameters.shift_unit;
    if (scalar.shift == ShiftKind::kZero) group.zero = parameters.shift[0];
    for (const int code : codes) {
      const int level = !scalar.levels.empty() ? static_cast<int>(scalar.levels[code])
                        : code < scalar.count  ? scalar.first + code
                                               : scalar.first + code - 256;
      row.levels.push_back(level - std::max(group.zero, 0));
    }
    row.groups.push_back(group);
  }
  return row;
}

// The multiple of the step that the shift is, if it is one.
std::optional<int> Multiple(float shift, float step) {
  if (shift == 0) return 0;
  const double ratio = static_cast<double>(shift) / step;
  if (!(std::fabs(ratio) <= 512) || ratio != std::rint(ratio)) return std::nullopt;
  return static_cast<int>(ratio);
}

// One block of the target.
class Block {
 public:
  Block(const Grid& grid, const Group& group, std::span<const int> levels)
      : grid_(grid), to_(*grid.scalar), group_(group), levels_(levels), codes_(levels.size()) {
    const auto [low, high] = std::ranges::minmax(levels);
    low_ = low;
    high_ = high;
  }

  bool Write(uint8_t* out) {
    if (!std::isfinite(group_.step) || !SameBits(RoundToReal(to_.unit, group_.step), group_.step)) {
      return false;
    }
    parameters_.unit = group_.step;
    if (!(to_.shift == ShiftKind::kOwn ? WithShift() : WithZero())) return false;
    to_.pack(grid_, parameters_, codes_.data(), out);
    return true;
  }

 private:
  int Lowest() const { return to_.first - to_.spare; }
  int Highest() const { return to_.first + to_.count - 1; }

  // The codes of all levels, moved by `offset`; they must be in range.
  void SetCodes(int offset) {
    for (size_t e = 0; e < codes_.size(); ++e) {
      codes_[e] = static_cast<uint8_t>(levels_[e] + offset - to_.first);
    }
  }

  bool InRange(int offset) const {
    return low_ + offset >= Lowest() && high_ + offset <= Highest();
  }

  bool WithZero() {
    const auto moved = Multiple(group_.shift, group_.step);
    if (!moved) return false;
    low_ += *moved;
    high_ += *moved;
    int zero = 0;
    if (to_.shift == ShiftKind::kZero) {
      const int least = std::max(0, Lowest() - low_);
      const int most = std::min(to_.shift_high, Highest() - high_);
      if (least > most) return false;
      zero = std::clamp(group_.zero >= 0 ? group_.zero : to_.count / 2, least, most);
      parameters_.shift[0] = static_cast<int16_t>(zero);
    }
    if (!InRange(zero)) return false;
    SetCodes(*moved + zero);
    return true;
  }

  bool WithShift() {
    if (group_.shift != 0 || group_.step == 0) return TakeShift(0, group_.shift);
    // The nearest to the middle first: that is how symmetric levels are usually moved.
    const int least = Lowest() - low_, most = Highest() - high_;
    const int middle =
        std::clamp(group_.zero >= 0 ? group_.zero : to_.count / 2, least, std::max(least, most));
    for (int distance = 0; distance <= to_.count; ++distance) {
      for (const int offset : {middle + distance, middle - distance}) {
        if (offset < least || offset > most) continue;
        const double shift = -static_cast<double>(offset) * group_.step;
        if (static_cast<double>(static_cast<float>(shift)) != shift) continue;
        if (TakeShift(offset, static_cast<float>(shift))) return true;
      }
    }
    return false;
  }

  bool TakeShift(int offset, float shift) {
    if (!InRange(offset) || !std::isfinite(shift) || RoundToReal(to_.unit, shift) != shift) {
      return false;
    }
    parameters_.shift_unit = shift;
    SetCodes(offset);
    return true;
  }

  const Grid& grid_;
  const ScalarGrid& to_;
  const Group& group_;
  std::span<const int> levels_;
  std::vector<uint8_t> codes_;
  int low_ = 0, high_ = 0;
  BlockParameters parameters_;
};

bool ToGroups(const Grid& from, const Grid& to, const uint8_t* blocks, int64_t n, uint8_t* out) {
  const Row row = TakeApart(from, blocks, n);
  for (int64_t at = 0; at < n; at += to.block, out += to.bytes) {
    const Group& first = row.groups[static_cast<size_t>(at / from.block)];
    // A block of several groups: they must agree.
    for (int64_t other = at + from.block; other < at + to.block; other += from.block) {
      const Group& group = row.groups[static_cast<size_t>(other / from.block)];
      if (!SameBits(group.step, first.step) || !SameBits(group.shift, first.shift)) return false;
    }
    const auto levels =
        std::span(row.levels).subspan(static_cast<size_t>(at), static_cast<size_t>(to.block));
    if (!Block(to, first, levels).Write(out)) return false;
  }
  return true;
}

bool ToPlain(const Grid& from, const Grid& to, const uint8_t* blocks, int64_t n, uint8_t* out) {
  std::vector<float> values(static_cast<size_t>(n)), again(values.size());
  from.Decode(blocks, n, values.data());
  to.Encode(values.data(), n, nullptr, out);
  to.Decode(out, n, again.data());
  return std::memcmp(values.data(), again.data(), values.size() * sizeof(float)) == 0;
}

}  // namespace

bool MayReexpress(const Grid& from, const Grid& to, int64_t cols) {
  if (to.plain) return to.writable() && DecodesExactly(from);
  if (!IsOneGroup(from) || !IsOneGroup(to) || !to.scalar->levels.empty()) return false;
  if (cols % from.block != 0 || cols % to.block != 0) return false;
  return from.block % to.block == 0 || to.block % from.block == 0;
}

bool Reexpress(const Grid& from, const Grid& to, const uint8_t* row, int64_t n, uint8_t* out) {
  return to.plain ? ToPlain(from, to, row, n, out) : ToGroups(from, to, row, n, out);
}

}  // namespace halftone
