#include "container/hf_compressed_tensors_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/hf_codes.h"

namespace halftone {
namespace {

// 2^(e - 127); 255 is infinite, as to compressed-tensors.
float E8m0(uint8_t e) {
  return e == 255 ? std::numeric_limits<float>::infinity() : std::ldexp(1.0f, e - 127);
}

const Grid& FloatGrid(GroupedLevels levels) {
  return GroupedGrid({.levels = levels, .bits = levels == GroupedLevels::kE2m1 ? 4 : 8, .group = 8},
                     8);
}

bool IsInteger(const CtWeight& weight) { return weight.layout <= CtCodes::kSigned; }

// The one pattern that is no number, of either sign.
bool IsE4m3Nan(uint8_t code) { return (code & 127) == 127; }

// A weight whose parts can be looked at.
class Parts {
 public:
  explicit Parts(CtWeight weight) : weight_(std::move(weight)) {
    row_bytes_ =
        weight_.rows == 0 ? 0 : static_cast<int64_t>(weight_.codes.data.size()) / weight_.rows;
    const std::string_view dtype = weight_.scales.dtype->name;
    if (dtype == "F8_E4M3") scale_levels_ = LevelsOfCodes(FloatGrid(GroupedLevels::kE4m3));
    if (weight_.layout == CtCodes::kFloat8)
      levels_ = LevelsOfCodes(FloatGrid(GroupedLevels::kE4m3));
    if (weight_.layout == CtCodes::kFloat4)
      levels_ = LevelsOfCodes(FloatGrid(GroupedLevels::kE2m1));
  }

  const CtWeight& weight() const { return weight_; }
  // Row r's codes as they lie in the file. Throws Error (kFormat) for a float that is NaN: the grid
  // of such floats has none.
  const uint8_t* Row(int64_t r) const {
    const uint8_t* row = weight_.codes.data.data() + r * row_bytes_;
    if (weight_.layout == CtCodes::kFloat8 && std::any_of(row, row + row_bytes_, IsE4m3Nan)) {
      FailFormat("{}: tensor '{}' holds a value that is not finite in row {}",
                 weight_.path, Printable(weight_.codes.name), r);
    }
    return row;
  }

  // The scale of row r's group g, as its dtype means it.
  float Scale(int64_t r, int64_t g) const {
    const int64_t at = r / weight_.row_block * weight_.scale_cols + g;
    const uint8_t* data = weight_.scales.data.data();
    float scale;
    if (weight_.scales.dtype->bits == 32) {
      scale = LoadLe<float>(data + 4 * at);
    } else if (weight_.scales.dtype->bits == 16) {
      scale = LoadReal(weight_.value(), data + 2 * at);
    } else {
      scale = scale_levels_.empty() ? E8m0(data[at])
              : IsE4m3Nan(data[at]) ? std::numeric_limits<float>::quiet_NaN()
                                    : scale_levels_[data[at]];
    }
    return weight_.divisor ? scale / *weight_.divisor : scale;
  }
  // The scale as a grid's blocks have it: its own bytes where they can be.
  void StoreScale(int64_t r, int64_t g, Real real, uint8_t* p) const {
    const auto bytes = static_cast<size_t>(ScaleBytes(real));
    if (weight_.divisor || weight_.scales.dtype->bits != static_cast<int>(8 * bytes)) {
      return StoreNumber(real, Scale(r, g), p);
    }
    const int64_t at = r / weight_.row_block * weight_.scale_cols + g;
    std::memcpy(p, weight_.scales.data.data() + static_cast<size_t>(at) * bytes, bytes);
  }
  uint8_t ScaleByte(int64_t r, int64_t g) const {
    return weight_.scales.data[r / weight_.row_block * weight_.scale_cols + g];
  }

  // The zero point of row r's group g, as a code.
  int Zero(int64_t r, int64_t g) const {
    const int half = 1 << (weight_.bits - 1);
    if (!weight_.zeros) return half;
    const uint8_t* data = weight_.zeros->data.data();
    if (!weight_.zeros_packed) {
      const int64_t at = r / weight_.row_block * weight_.scale_cols + g;
      return half + static_cast<int8_t>(data[at]);
    }
    const bool words = weight_.layout == CtCodes::kWords;
    const int64_t bit = words ? BitInWords(r) : r * weight_.bits;
    const auto word = [&](int64_t index) {
      return LoadLe<uint32_t>(data + 4 * (index * weight_.scale_cols + g));
    };
    const int shift = static_cast<int>(bit % 32);
    uint64_t two = word(bit / 32);
    if (shift + weight_.bits > 32) two |= static_cast<uint64_t>(word(bit / 32 + 1)) << 32;
    return static_cast<int>(two >> shift & ((1u << weight_.bits) - 1));
  }

  // The codes of row r, one a byte; integers with their offset.
  void Codes(int64_t r, uint8_t* codes) const {
    const uint8_t* row = Row(r);
    const int64_t cols = weight_.cols;
    switch (weight_.layout) {
      case CtCodes::kStream:
        return UnpackBits(row, weight_.bits, cols, codes);
      case CtCodes::kWords: {
        const unsigned mask = (1u << weight_.bits) - 1;
        for (int64_t c = 0; c < cols; ++c) {
          const int64_t bit = BitInWords(c);
          codes[c] = static_cast<uint8_t>(LoadLe<uint32_t>(row + bit / 32 * 4) >> bit % 32 & mask);
        }
        return;
      }
      case CtCodes::kSigned:
        return FlipSigns(row, cols, codes);
      case CtCodes::kFloat8:
        std::memcpy(codes, row, static_cast<size_t>(cols));
        return;
      case CtCodes::kFloat4:
        return UnpackBits(row, 4, cols, codes);
    }
  }

  float Value(uint8_t code, int zero, float scale) const {
    const float level = levels_.empty() ? static_cast<float>(code - zero) : levels_[code];
    return level * scale;
  }

 private:
  int64_t BitInWords(int64_t i) const {
    const int64_t each = 32 / weight_.bits;
    return i / each * 32 + i % each * weight_.bits;
  }

  CtWeight weight_;
  int64_t row_bytes_ = 0;
  std::span<const float> scale_levels_;  // of 8-bit floats
  std::span<const float> levels_;        // of codes that are floats
};

using Order = std::shared_ptr<const std::vector<int32_t>>;

// Blocks of a grouped grid.
class BlockRows : public RowSource {
 public:
  BlockRows(CtWeight weight, const Grid& grid, Order order)
      : parts_(std::move(weight)), grid_(grid), order_(std::move(order)) {
    const CtWeight& w = parts_.weight();
    const bool same = w.bits == grid.grouped->bits && w.layout != CtCodes::kWords;
    direct_ = same && order_ == nullptr;
    // Codes of fewer bits than the grid has keep their values.
    offset_ = (1 << (grid.grouped->bits - 1)) - (1 << (w.bits - 1));
  }

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const CtWeight& weight = parts_.weight();
    const GroupedSpec& spec = *grid_.grouped;
    const bool zeros = spec.levels == GroupedLevels::kInteger && !spec.symmetric;
    std::vector<uint8_t> codes(direct_ ? 0 : static_cast<size_t>(weight.cols)), stream;
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* row = direct_ ? parts_.Row(r) : Stream(r, codes, stream);
      for (int64_t c = 0; c < weight.cols; c += grid_.block, blocks += grid_.bytes) {
        const int64_t g = c / weight.group;
        parts_.StoreScale(r, g, spec.scale, blocks);
        uint8_t* to = blocks + ScaleBytes(spec.scale);
        if (zeros) *to++ = static_cast<uint8_t>(parts_.Zero(r, g) + offset_);
        CopyCodes(row + c * spec.bits / 8, to);
      }
    }
  }

 private:
  // Row r as a stream of the grid's codes, in the order of its columns.
  const uint8_t* Stream(int64_t r, std::vector<uint8_t>& codes,
                        std::vector<uint8_t>& stream) const {
    const CtWeight& weight = parts_.weight();
    parts_.Codes(r, codes.data());
    for (uint8_t& code : codes) code = static_cast<uint8_t>(code + offset_);
    if (order_ != nullptr) {
      std::vector<uint8_t> sorted(codes.size());
      for (size_t p = 0; p < codes.size(); ++p) sorted[p] = codes[(*order_)[p]];
      codes = std::move(sorted);
    }
    // As the file has them.
    const bool is_signed = weight.layout == CtCodes::kSigned;
    if (is_signed) FlipSigns(codes.data(), weight.cols, codes.data());
    const int bits = grid_.grouped->bits;
    stream.resize(static_cast<size_t>((weight.cols * bits + 7) / 8));
    PackBits(codes.data(), bits, weight.cols, stream.data());
    return stream.data();
  }

  void CopyCodes(const uint8_t* from, uint8_t* to) const {
    const int bits = grid_.grouped->bits;
    if (bits == 4) return NibblesToBlock(from, FirstNibble::kLow, grid_.block, to);
    if (parts_.weight().layout == CtCodes::kSigned) return FlipSigns(from, grid_.block, to);
    std::memcpy(to, from, static_cast<size_t>(grid_.block) * bits / 8);
  }

  Parts parts_;
  const Grid& grid_;
  Order order_;
  bool direct_;
  int offset_;
};

// Blocks of GGUF's MXFP4: the scale as it is stored, then the codes.
class MxRows : public RowSource {
 public:
  MxRows(CtWeight weight, const Grid& grid) : parts_(std::move(weight)), grid_(grid) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* row = parts_.Row(r);
      for (int64_t g = 0; g < parts_.weight().scale_cols; ++g, blocks += grid_.bytes, row += 16) {
        blocks[0] = parts_.ScaleByte(r, g);
        NibblesToBlock(row, FirstNibble::kLow, 32, blocks + 1);
      }
    }
  }

 private:
  Parts parts_;
  const Grid& grid_;
};

// Plain numbers.
class PlainRows : public RowSource {
 public:
  explicit PlainRows(CtWeight weight) : parts_(std::move(weight)) {}

  void Read(int64_t begin, int64_t end, uint8_t* numbers) const override {
    const CtWeight& weight = parts_.weight();
    const Real real = weight.value();
    std::vector<uint8_t> codes(static_cast<size_t>(weight.cols));
    for (int64_t r = begin; r < end; ++r) {
      parts_.Codes(r, codes.data());
      for (int64_t c = 0; c < weight.cols; ++c, numbers += ScaleBytes(real)) {
        const int64_t g = weight.group_of.empty() ? c / weight.group : weight.group_of[c];
        StoreNumber(real, parts_.Value(codes[c], parts_.Zero(r, g), parts_.Scale(r, g)), numbers);
      }
    }
  }

 private:
  Parts parts_;
};

// The columns sorted by group, or null where groups differ in size.
Order OrderOf(const CtWeight& weight) {
  std::vector<int64_t> sizes(static_cast<size_t>(weight.scale_cols));
  for (const int32_t g : weight.group_of) ++sizes[g];
  if (std::ranges::any_of(sizes, [&](int64_t n) { return n != weight.group; })) return nullptr;
  std::vector<int32_t> order(weight.group_of.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int32_t c) { return weight.group_of[c]; });
  return std::make_shared<const std::vector<int32_t>>(std::move(order));
}

// The grid with a scale of this weight for each of its groups, or null.
const Grid* BlockGrid(const CtWeight& weight) {
  constexpr int kMxfp4 = 39;  // as GGUF numbers it
  const bool mx = weight.scales.dtype->name == "U8";
  if (weight.layout == CtCodes::kFloat4 && mx && weight.group == 32 && weight.cols % 32 == 0) {
    return FindGridByGgufType(kMxfp4);
  }
  const int block = BlockWithin(weight.group, weight.cols);
  if (block == 0) return nullptr;
  GroupedSpec spec{.group = weight.whole_rows ? 0 : block,
                   .symmetric = !weight.zeros,
                   .scale = weight.divisor ? Real::kF32 : weight.value(),
                   .value = weight.value()};
  if (IsInteger(weight)) {
    spec.bits = weight.bits <= 2 ? 2 : weight.bits <= 4 ? weight.bits : 8;
  } else {
    spec.levels = weight.layout == CtCodes::kFloat8 ? GroupedLevels::kE4m3 : GroupedLevels::kE2m1;
    spec.bits = weight.bits;
  }
  return &GroupedGrid(spec, weight.cols);
}

}  // namespace

Real CtWeight::value() const {
  // Powers of two and 8-bit floats come with bf16.
  const std::string_view dtype = scales.dtype->name;
  return dtype == "F32" ? Real::kF32 : dtype == "F16" ? Real::kF16 : Real::kBf16;
}

Tensor MakeCtTensor(std::string name, CtWeight weight) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.shape = {weight.rows, weight.cols};
  const Grid* grid = BlockGrid(weight);
  if (grid != nullptr && !weight.group_of.empty()) {
    tensor.order = OrderOf(weight);
    if (tensor.order == nullptr) grid = nullptr;
  }
  if (grid == nullptr) {
    tensor.grid = &PlainGrid(weight.value());
    tensor.source = std::make_shared<PlainRows>(std::move(weight));
  } else if (grid->grouped == nullptr) {
    tensor.grid = grid;
    tensor.source = std::make_shared<MxRows>(std::move(weight), *grid);
  } else {
    tensor.grid = grid;
    tensor.source = std::make_shared<BlockRows>(std::move(weight), *grid, tensor.order);
  }
  return tensor;
}

}  // namespace halftone
