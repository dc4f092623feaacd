#include "container/hf_gptq_rows.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "container/hf_codes.h"
#include "container/hf_gptq_zeros.h"
#include "container/hf_packed_rows.h"

namespace halftone {
namespace {

// Turns tiles of qweight into words row by row.
class Tiles {
 public:
  // For at most `rows` rows.
  Tiles(const GptqLayer& layer, int64_t rows)
      : layer_(layer),
        tile_(std::min(kTileRows, rows)),
        words_(layer.qweight.shape[0]),
        stride_(TileStride(words_)),
        buffer_(static_cast<size_t>(tile_ * stride_)) {}

  // Calls row(o, stream) for each output in [begin, end).
  template <class Row>
  void For(int64_t begin, int64_t end, Row row) {
    for (int64_t first = begin; first < end; first += tile_) {
      const int64_t n = std::min(tile_, end - first);
      GatherColumns(layer_.qweight.data.data(), words_, layer_.out, first, n, buffer_.data(),
                    stride_);
      for (int64_t i = 0; i < n; ++i) {
        row(first + i, reinterpret_cast<const uint8_t*>(buffer_.data() + i * stride_));
      }
    }
  }

 private:
  const GptqLayer& layer_;
  int64_t tile_;
  int64_t words_;
  int64_t stride_;
  std::vector<uint32_t> buffer_;
};

// The stream of a row with its codes in another order.
class Reorder {
 public:
  explicit Reorder(const GptqLayer& layer)
      : layer_(layer), codes_(layer.in), sorted_(layer.in), stream_(layer.in + 8) {}

  const uint8_t* operator()(const uint8_t* stream) {
    UnpackBits(stream, layer_.bits, layer_.in, codes_.data());
    const std::vector<int32_t>& order = *layer_.order;
    for (size_t p = 0; p < order.size(); ++p) sorted_[p] = codes_[order[p]];
    PackBits(sorted_.data(), layer_.bits, layer_.in, stream_.data());
    return stream_.data();
  }

 private:
  const GptqLayer& layer_;
  std::vector<uint8_t> codes_, sorted_, stream_;
};

const uint8_t* ScaleAt(const GptqLayer& layer, int64_t g, int64_t o) {
  return layer.scales.data.data() + (g * layer.out + o) * ScaleBytes(layer.real);
}

class GroupedRows : public RowSource {
 public:
  GroupedRows(GptqLayer layer, const Grid& grid) : layer_(std::move(layer)), grid_(grid) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    RowParameters parameters(grid_, layer_.in);
    std::optional<Reorder> reorder;
    if (layer_.order != nullptr) reorder.emplace(layer_);
    const auto scale_bytes = static_cast<size_t>(ScaleBytes(layer_.real));
    Tiles(layer_, end - begin).For(begin, end, [&](int64_t o, const uint8_t* stream) {
      for (int64_t g = 0; g < layer_.groups; ++g) {
        std::memcpy(parameters.scales.data() + g * scale_bytes, ScaleAt(layer_, g, o), scale_bytes);
        if (!layer_.symmetric) parameters.zeros[g] = static_cast<uint8_t>(GptqZero(layer_, g, o));
      }
      MakeBlocks(grid_, parameters, reorder ? (*reorder)(stream) : stream, blocks);
      blocks += grid_.RowBytes(layer_.in);
    });
  }

 private:
  GptqLayer layer_;
  const Grid& grid_;
};

class PlainRows : public RowSource {
 public:
  explicit PlainRows(GptqLayer layer) : layer_(std::move(layer)) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    std::vector<uint8_t> codes(static_cast<size_t>(layer_.in));
    std::vector<int> zeros(static_cast<size_t>(layer_.groups));
    Tiles(layer_, end - begin).For(begin, end, [&](int64_t o, const uint8_t* stream) {
      UnpackBits(stream, layer_.bits, layer_.in, codes.data());
      for (int64_t g = 0; g < layer_.groups; ++g) zeros[g] = GptqZero(layer_, g, o);
      for (int64_t i = 0; i < layer_.in; ++i, blocks += ScaleBytes(layer_.real)) {
        const int64_t g = layer_.group_at(i);
        const float scale = LoadReal(layer_.real, ScaleAt(layer_, g, o));
        StoreNumber(layer_.real, static_cast<float>(codes[i] - zeros[g]) * scale, blocks);
      }
    });
  }

 private:
  GptqLayer layer_;
};

bool FitsBlocks(const GptqLayer& layer) {
  constexpr int64_t kLargestBlock = int64_t{1} << 24;  // of GroupedGrid
  return (layer.group_of.empty() || layer.order != nullptr) && layer.in > 0 &&
         layer.groups * layer.group == layer.in && layer.group * layer.bits % 8 == 0 &&
         layer.group <= kLargestBlock;
}

}  // namespace

Tensor GptqWeight(GptqLayer layer) {
  Tensor tensor;
  tensor.name = layer.name;
  tensor.shape = {layer.out, layer.in};
  if (!FitsBlocks(layer)) {
    tensor.grid = &PlainGrid(layer.real);
    tensor.source = std::make_shared<PlainRows>(std::move(layer));
    return tensor;
  }
  tensor.grid = &GroupedGrid({.levels = GroupedLevels::kInteger,
                              .bits = layer.bits,
                              .group = layer.whole_row ? 0 : static_cast<int>(layer.group),
                              .symmetric = layer.symmetric,
                              .scale = layer.real,
                              .value = layer.real},
                             layer.in);
  tensor.order = layer.order;
  tensor.source = std::make_shared<GroupedRows>(std::move(layer), *tensor.grid);
  return tensor;
}

}  // namespace halftone
