#include "container/hf_awq_layer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/half.h"
#include "container/hf_packed_rows.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

constexpr int kBits = 4;
constexpr int64_t kCodes = 8;  // of a word
constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
constexpr int64_t kLargestGroup = int64_t{1} << 24;  // of GroupedGrid

// Of "gemm": which four bits of a word hold output k of 8, and which output four bits hold.
constexpr std::array<int, 8> kNibbleOf = {0, 4, 1, 5, 2, 6, 3, 7};
constexpr std::array<int, 8> kOutputOf = {0, 2, 4, 6, 1, 3, 5, 7};

void ExpectMatrix(const HfParts& parts, const SafetensorsTensor& t) {
  if (t.shape.size() != 2 || t.shape[0] > kMaxExtent || t.shape[1] > kMaxExtent / kCodes) {
    parts.FailFormat(t.name, "has shape {}, must be a matrix", ShapeText(t.shape));
  }
}

Real RealOf(const HfParts& parts, const SafetensorsTensor& scales) {
  if (scales.dtype->name == "F16") return Real::kF16;
  if (scales.dtype->name == "BF16") return Real::kBf16;
  parts.FailFormat(scales.name, "is {}, must be F16 or BF16", scales.dtype->name);
}

void SetGroup(const HfParts& parts, const AwqSettings& settings, AwqLayer& layer) {
  if (settings.group_size) {
    layer.whole_row = *settings.group_size < 0;
    layer.group = layer.whole_row ? layer.in : *settings.group_size;
  } else if (layer.layout == AwqLayout::kGemm && layer.scales.shape[0] > 0) {
    layer.group = layer.in / layer.scales.shape[0];
  } else {
    parts.FailFormat(layer.qweight.name, "nothing says how many inputs are in a group");
  }
  if (layer.in == 0 || layer.group == 0 || layer.in % layer.group != 0) {
    parts.FailFormat(layer.qweight.name, "{} inputs do not divide into groups of {}", layer.in,
                     layer.group);
  }
  if (layer.group % 2 != 0 || layer.group > kLargestGroup) {
    parts.FailUnsupported(layer.qweight.name, "groups of {} are not supported", layer.group);
  }
}

class AwqRows : public RowSource {
 public:
  AwqRows(AwqLayer layer, const Grid& grid) : layer_(std::move(layer)), grid_(grid) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    if (layer_.layout == AwqLayout::kGemm) {
      ReadGemm(begin, end, blocks);
    } else {
      ReadGemv(begin, end, blocks);
    }
  }

 private:
  const uint8_t* Word(const SafetensorsTensor& t, int64_t row, int64_t col) const {
    return t.data.data() + (row * t.shape[1] + col) * 4;
  }

  // Scale and zero of group g and output o, wherever the layout has them.
  void Take(int64_t g, int64_t o, RowParameters& parameters) const {
    const bool gemm = layer_.layout == AwqLayout::kGemm;
    const int64_t row = gemm ? g : o, col = gemm ? o : g;
    const auto bytes = static_cast<size_t>(ScaleBytes(layer_.real));
    std::memcpy(
        parameters.scales.data() + static_cast<size_t>(g) * bytes,
        layer_.scales.data.data() + static_cast<size_t>(row * layer_.scales.shape[1] + col) * bytes,
        bytes);
    const auto word = LoadLe<uint32_t>(Word(layer_.qzeros, row, col / kCodes));
    const int nibble = static_cast<int>(col % kCodes);
    const int shift = kBits * (gemm ? kNibbleOf[static_cast<size_t>(nibble)] : nibble);
    parameters.zeros[static_cast<size_t>(g)] = word >> shift & 15;
  }

  void ReadGemv(int64_t begin, int64_t end, uint8_t* blocks) const {
    RowParameters parameters(grid_, layer_.in);
    for (int64_t o = begin; o < end; ++o, blocks += grid_.RowBytes(layer_.in)) {
      for (int64_t g = 0; g < layer_.groups(); ++g) Take(g, o, parameters);
      MakeBlocks(grid_, parameters, Word(layer_.qweight, o, 0), blocks);
    }
  }

  // Tiles of as many outputs as a cache line holds.
  void ReadGemm(int64_t begin, int64_t end, uint8_t* blocks) const {
    constexpr int64_t kWords = 16;
    RowParameters parameters(grid_, layer_.in);
    const int64_t stride = TileStride(PackedWords(layer_.in, kBits)) * 4;
    const int64_t last = (end + kCodes - 1) / kCodes;
    const int64_t tile = std::min(kWords, last - begin / kCodes);
    std::vector<uint8_t> streams(static_cast<size_t>(tile * kCodes * stride));
    for (int64_t c = begin / kCodes; c < last; c += tile) {
      const int64_t words = std::min(tile, last - c);
      Turn(c, words, stride, streams.data());
      for (int64_t o = std::max(begin, c * kCodes); o < std::min(end, (c + words) * kCodes); ++o) {
        for (int64_t g = 0; g < layer_.groups(); ++g) Take(g, o, parameters);
        MakeBlocks(grid_, parameters, streams.data() + (o - c * kCodes) * stride, blocks);
        blocks += grid_.RowBytes(layer_.in);
      }
    }
  }

  // Words [c, c + n) of all inputs as streams of 8n outputs, `stride` bytes apart.
  void Turn(int64_t c, int64_t n, int64_t stride, uint8_t* streams) const {
    constexpr uint32_t kLow = 0x0F0F0F0F;
    for (int64_t i = 0; i < layer_.in; i += 2) {
      const uint8_t* first = Word(layer_.qweight, i, c);
      const uint8_t* second = i + 1 < layer_.in ? Word(layer_.qweight, i + 1, c) : first;
      for (int64_t w = 0; w < n; ++w) {
        const auto a = LoadLe<uint32_t>(first + w * 4), b = LoadLe<uint32_t>(second + w * 4);
        // The even and the odd nibbles of both, paired.
        uint32_t even = (a & kLow) | (b & kLow) << 4;
        uint32_t odd = (a >> 4 & kLow) | (b & ~kLow);
        uint8_t* out = streams + w * kCodes * stride + i / 2;
        for (size_t nibble = 0; nibble < 8; nibble += 2) {
          out[kOutputOf[nibble] * stride] = static_cast<uint8_t>(even);
          out[kOutputOf[nibble + 1] * stride] = static_cast<uint8_t>(odd);
          even >>= 8;
          odd >>= 8;
        }
      }
    }
  }

  AwqLayer layer_;
  const Grid& grid_;
};

}  // namespace

AwqLayer ReadAwqLayer(HfParts& parts, const AwqSettings& settings, const std::string& prefix) {
  AwqLayer layer;
  layer.name = prefix + ".weight";
  layer.layout = settings.layout;
  if (parts.Find(layer.name) != nullptr) {
    parts.FailFormat(layer.name, "is there twice, plain and quantized");
  }
  layer.qweight = parts.Need(prefix + ".qweight");
  layer.qzeros = parts.Need(prefix + ".qzeros");
  layer.scales = parts.Need(prefix + ".scales");
  for (const auto* t : {&layer.qweight, &layer.qzeros, &layer.scales}) ExpectMatrix(parts, *t);
  layer.real = RealOf(parts, layer.scales);
  const std::string_view real = layer.scales.dtype->name;
  parts.Expect(layer.qweight, {"I32"}, layer.qweight.shape);
  const int64_t rows = layer.qweight.shape[0], words = layer.qweight.shape[1];
  const bool gemm = layer.layout == AwqLayout::kGemm;
  layer.in = gemm ? rows : words * kCodes;
  layer.out = gemm ? words * kCodes : rows;
  SetGroup(parts, settings, layer);
  if (gemm) {
    parts.Expect(layer.qzeros, {"I32"}, {layer.groups(), words});
    parts.Expect(layer.scales, {real}, {layer.groups(), layer.out});
    return layer;
  }
  // Padded, to how many words depends on the group and on the version that wrote it.
  const int64_t zero_words = layer.qzeros.shape[1];
  if (zero_words * kCodes < layer.groups()) {
    parts.FailFormat(layer.qzeros.name, "has room for {} groups, there are {}", zero_words * kCodes,
                     layer.groups());
  }
  parts.Expect(layer.qzeros, {"I32"}, {layer.out, zero_words});
  parts.Expect(layer.scales, {real}, {layer.out, zero_words * kCodes});
  return layer;
}

Tensor AwqWeight(AwqLayer layer) {
  Tensor tensor;
  tensor.name = layer.name;
  tensor.shape = {layer.out, layer.in};
  tensor.grid = &GroupedGrid({.levels = GroupedLevels::kInteger,
                              .bits = kBits,
                              .group = layer.whole_row ? 0 : static_cast<int>(layer.group),
                              .symmetric = false,
                              .scale = layer.real,
                              .value = layer.real},
                             layer.in);
  tensor.source = std::make_shared<AwqRows>(std::move(layer), *tensor.grid);
  return tensor;
}

}  // namespace halftone
