#include "container/hf_awq_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/hf_codes.h"
#include "container/hf_packed_config.h"
#include "container/hf_packed_rows.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr int kBits = 4;
constexpr int64_t kCodes = 8;  // of a word
// Which four bits of a word hold output k of 8.
constexpr std::array<int, 8> kNibbleOf = {0, 4, 1, 5, 2, 6, 3, 7};

bool IsQuantized(const TensorPlan& tensor) { return tensor.grid->grouped != nullptr; }

std::string Prefix(const TensorPlan& tensor) {
  return tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

void Check(const TensorPlan& tensor) {
  const std::string name = Printable(tensor.name);
  if (!tensor.name.ends_with(kWeight) || tensor.shape.size() != 2) {
    FailUsage("tensor '{}': AWQ quantizes matrices named '<layer>.weight', not this one of {}",
              name, ShapeText(tensor.shape));
  }
  if (!CanStoreAwq(*tensor.grid)) {
    FailUsage("tensor '{}': AWQ cannot hold grid '{}'", name, tensor.grid->name);
  }
  if (tensor.order != nullptr) FailUsage("tensor '{}': AWQ keeps columns in order", name);
  if (tensor.shape[1] == 0 || tensor.shape[1] % tensor.grid->block != 0) {
    FailUsage("tensor '{}': {} columns are no multiple of the {} in a group", name, tensor.shape[1],
              tensor.grid->block);
  }
  if (tensor.shape[0] % kCodes != 0) {
    FailUsage("tensor '{}': AWQ packs 8 rows together, {} are no multiple", name, tensor.shape[0]);
  }
}

// Lays the blocks of one layer out as qweight, qzeros and scales.
class Layer {
 public:
  explicit Layer(const TensorPlan& tensor)
      : grid_(*tensor.grid), out_(tensor.shape[0]), in_(tensor.shape[1]) {}

  std::vector<SafetensorsEntry> Entries(const std::string& prefix) const {
    const SafetensorsDtype* i32 = FindSafetensorsDtype("I32");
    const int64_t groups = in_ / grid_.block, words = out_ / kCodes;
    return {{prefix + ".qweight", i32, {in_, words}},
            {prefix + ".qzeros", i32, {groups, words}},
            {prefix + ".scales", FindSafetensorsDtype("F16"), {groups, out_}}};
  }

  void operator()(std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) const {
    const uint64_t row_bytes = grid_.RowBytes(in_);
    const auto scale_bytes = static_cast<size_t>(ScaleBytes(grid_.grouped->scale));
    RowParameters parameters(grid_, in_);
    std::vector<uint8_t> stream(static_cast<size_t>(PackedWords(in_, kBits) * 4));
    std::vector<uint8_t> codes(static_cast<size_t>(in_));
    for (int64_t o = 0; o < out_; ++o) {
      TakeBlocks(grid_, blocks.data() + static_cast<uint64_t>(o) * row_bytes, parameters,
                 stream.data());
      UnpackBits(stream.data(), kBits, in_, codes.data());
      for (int64_t i = 0; i < in_; ++i) Put(codes[i], i, o, parts[0]);
      for (size_t g = 0; g < parameters.zeros.size(); ++g) {
        Put(parameters.zeros[g], static_cast<int64_t>(g), o, parts[1]);
        std::memcpy(parts[2].data() +
                        (g * static_cast<size_t>(out_) + static_cast<size_t>(o)) * scale_bytes,
                    parameters.scales.data() + g * scale_bytes, scale_bytes);
      }
    }
  }

 private:
  // Row `row`, output o of a matrix [rows, out / 8] of words; its bits are zeros so far.
  void Put(uint8_t code, int64_t row, int64_t o, std::vector<uint8_t>& matrix) const {
    const int nibble = kNibbleOf[static_cast<size_t>(o % kCodes)];
    uint8_t& byte =
        matrix[static_cast<size_t>((row * (out_ / kCodes) + o / kCodes) * 4 + nibble / 2)];
    byte |= static_cast<uint8_t>(code << (nibble % 2 * kBits));
  }

  const Grid& grid_;
  int64_t out_, in_;
};

// The group that all layers share, -1 for whole rows.
int64_t CommonGroup(const CheckpointPlan& plan) {
  std::optional<int64_t> group;
  for (const TensorPlan& t : plan.tensors) {
    if (!IsQuantized(t)) continue;
    const int64_t own = t.grid->grouped->group > 0 ? t.grid->grouped->group : -1;
    if (group.value_or(own) != own) {
      FailUsage("tensor '{}': AWQ has one group size for all layers, not {} and {}",
                Printable(t.name), *group, own);
    }
    group = own;
  }
  return group.value_or(128);
}

OrderedJson Settings(const CheckpointPlan& plan) {
  // What readers, who expect every linear layer to be quantized, have to leave alone.
  OrderedJson plain = OrderedJson::array();
  for (const TensorPlan& t : plan.tensors) {
    const bool matrix = t.name.ends_with(kWeight) && t.shape.size() == 2;
    if (matrix && !IsQuantized(t) && NameHasNumber(t.name)) plain.push_back(Prefix(t));
  }
  return {{"quant_method", "awq"},
          {"bits", kBits},
          {"group_size", CommonGroup(plan)},
          {"zero_point", true},
          {"version", "gemm"},
          {"modules_to_not_convert", plain.empty() ? OrderedJson() : plain}};
}

}  // namespace

bool CanStoreAwq(const Grid& grid) {
  if (grid.grouped == nullptr) return DtypeOf(grid) != nullptr;
  const GroupedSpec held = {.levels = GroupedLevels::kInteger,
                            .bits = kBits,
                            .group = grid.grouped->group,
                            .symmetric = false,
                            .scale = Real::kF16,
                            .value = Real::kF16};
  return *grid.grouped == held && grid.block % 2 == 0;
}

HfFolderPlan LayOutAwq(const CheckpointPlan& plan) {
  HfFolderPlan folder;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!IsQuantized(tensor)) {
      folder.tensors.push_back(PlainHfTensor(tensor));
      continue;
    }
    Check(tensor);
    const Layer layer(tensor);
    folder.tensors.push_back({layer.Entries(Prefix(tensor)), layer});
  }
  folder.documents = DocumentsWith(plan.documents, Settings(plan));
  return folder;
}

}  // namespace halftone
