#include "container/hf_gptq_writer.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

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

bool IsQuantized(const TensorPlan& tensor) { return tensor.grid->grouped != nullptr; }

// The layer's name: P of P.weight.
std::string Prefix(const TensorPlan& tensor) {
  return tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

void Check(const TensorPlan& tensor) {
  const std::string name = Printable(tensor.name);
  if (!tensor.name.ends_with(kWeight) || tensor.shape.size() != 2) {
    FailUsage("tensor '{}': GPTQ quantizes matrices named '<layer>.weight', not this one of {}",
              name, ShapeText(tensor.shape));
  }
  if (!CanStoreGptq(*tensor.grid)) {
    FailUsage("tensor '{}': GPTQ cannot hold grid '{}'", name, tensor.grid->name);
  }
  if (tensor.shape[1] % tensor.grid->block != 0) {
    FailUsage("tensor '{}': {} columns are no multiple of the {} in a group", name, tensor.shape[1],
              tensor.grid->block);
  }
  if (tensor.order != nullptr && static_cast<int64_t>(tensor.order->size()) != tensor.shape[1]) {
    FailUsage("tensor '{}': the order has {} of {} columns", name, tensor.order->size(),
              tensor.shape[1]);
  }
}

// Lays the blocks of one layer out as qweight, qzeros, scales and g_idx.
class Layer {
 public:
  Layer(const TensorPlan& tensor, bool zeros_less_one)
      : grid_(*tensor.grid),
        out_(tensor.shape[0]),
        in_(tensor.shape[1]),
        bits_(grid_.grouped->bits),
        groups_(in_ / grid_.block),
        words_(PackedWords(in_, bits_)),
        zeros_less_one_(zeros_less_one),
        order_(tensor.order) {}

  std::vector<SafetensorsEntry> Entries(const std::string& prefix) const {
    const SafetensorsDtype* i32 = FindSafetensorsDtype("I32");
    return {{prefix + ".qweight", i32, {words_, out_}},
            {prefix + ".qzeros", i32, {groups_, PackedWords(out_, bits_)}},
            {prefix + ".scales", FindSafetensorsDtype("F16"), {groups_, out_}},
            {prefix + ".g_idx", i32, {in_}}};
  }

  void operator()(std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) const {
    const uint64_t row_bytes = grid_.RowBytes(in_);
    const auto scale_bytes = static_cast<size_t>(ScaleBytes(grid_.grouped->scale));
    RowParameters parameters(grid_, in_);
    std::vector<uint8_t> zeros(static_cast<size_t>(groups_ * out_));
    const int64_t stride = TileStride(words_);
    std::vector<uint32_t> tile(static_cast<size_t>(kTileRows * stride));
    for (int64_t first = 0; first < out_; first += kTileRows) {
      const int64_t n = std::min(kTileRows, out_ - first);
      for (int64_t o = first; o < first + n; ++o) {
        auto* stream = reinterpret_cast<uint8_t*>(tile.data() + (o - first) * stride);
        TakeBlocks(grid_, blocks.data() + static_cast<uint64_t>(o) * row_bytes, parameters, stream);
        if (order_ != nullptr) RestoreOrder(stream);
        for (int64_t g = 0; g < groups_; ++g) {
          std::memcpy(parts[2].data() + static_cast<size_t>(g * out_ + o) * scale_bytes,
                      parameters.scales.data() + static_cast<size_t>(g) * scale_bytes, scale_bytes);
          zeros[g * out_ + o] = parameters.zeros[g] - static_cast<uint8_t>(zeros_less_one_);
        }
      }
      ScatterColumns(tile.data(), stride, words_, out_, first, n, parts[0].data());
    }
    const int64_t zero_bytes = PackedWords(out_, bits_) * 4;
    for (int64_t g = 0; g < groups_; ++g) {
      PackBits(zeros.data() + g * out_, bits_, out_, parts[1].data() + g * zero_bytes);
    }
    for (int64_t p = 0; p < in_; ++p) {
      const int64_t input = order_ != nullptr ? (*order_)[p] : p;
      StoreLe(parts[3].data() + input * 4, static_cast<int32_t>(p / grid_.block));
    }
  }

 private:
  // Codes in the order of the blocks to codes in the order of the inputs.
  void RestoreOrder(uint8_t* stream) const {
    std::vector<uint8_t> sorted(static_cast<size_t>(in_)), codes(sorted.size());
    UnpackBits(stream, bits_, in_, sorted.data());
    for (size_t p = 0; p < codes.size(); ++p) codes[(*order_)[p]] = sorted[p];
    PackBits(codes.data(), bits_, in_, stream);
  }

  const Grid& grid_;
  int64_t out_, in_;
  int bits_;
  int64_t groups_, words_;
  bool zeros_less_one_;
  std::shared_ptr<const std::vector<int32_t>> order_;
};

// Bits and group, which layers of one checkpoint may differ in.
using Kind = std::pair<int, int>;

Kind KindOf(const TensorPlan& tensor) {
  const GroupedSpec& spec = *tensor.grid->grouped;
  return {spec.bits, spec.group > 0 ? spec.group : -1};
}

// The kind of most weights: what the settings say of all, so that "dynamic" lists the exceptions.
Kind CommonKind(const CheckpointPlan& plan) {
  std::map<Kind, int64_t> weights;
  for (const TensorPlan& t : plan.tensors) {
    if (IsQuantized(t)) weights[KindOf(t)] += t.shape[0] * t.shape[1];
  }
  const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
  return most == weights.end() ? Kind{4, 128} : most->first;
}

// A regular expression for this very layer.
std::string LayerPattern(const std::string& prefix) {
  std::string pattern = "^";
  for (const char c : prefix) {
    if (std::ispunct(static_cast<unsigned char>(c)) && c != '_') pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

// What differs from the common kind, layer by layer; matrices that stay plain among the layers,
// too, since readers expect all of them quantized.
OrderedJson Exceptions(const CheckpointPlan& plan, Kind common) {
  OrderedJson dynamic = OrderedJson::object();
  for (const TensorPlan& t : plan.tensors) {
    if (!t.name.ends_with(kWeight) || t.shape.size() != 2) continue;
    const std::string prefix = Prefix(t);
    if (!IsQuantized(t)) {
      if (NameHasNumber(prefix)) dynamic["-:" + LayerPattern(prefix)] = OrderedJson::object();
    } else if (KindOf(t) != common) {
      dynamic["+:" + LayerPattern(prefix)] = {{"bits", KindOf(t).first},
                                              {"group_size", KindOf(t).second}};
    }
  }
  return dynamic;
}

bool IsSymmetric(const CheckpointPlan& plan) {
  return std::ranges::all_of(plan.tensors, [](const TensorPlan& t) {
    return !IsQuantized(t) || t.grid->grouped->symmetric;
  });
}

OrderedJson Settings(const CheckpointPlan& plan) {
  const Kind common = CommonKind(plan);
  const bool symmetric = IsSymmetric(plan);
  const std::string format = symmetric ? "gptq" : "gptq_v2";
  const bool head = std::ranges::any_of(plan.tensors, [](const TensorPlan& t) {
    return IsQuantized(t) && t.name == "lm_head.weight";
  });
  const bool ordered =
      std::ranges::any_of(plan.tensors, [](const TensorPlan& t) { return t.order != nullptr; });
  OrderedJson settings = {{"bits", common.first},
                          {"group_size", common.second},
                          {"desc_act", ordered},
                          {"sym", symmetric},
                          {"lm_head", head},
                          {"quant_method", "gptq"},
                          {"method", "gptq"},
                          {"checkpoint_format", format},
                          {"format", format},
                          {"pack_dtype", "int32"},
                          {"meta", {{"quantizer", {"halftone:" HALFTONE_VERSION}}}}};
  const OrderedJson exceptions = Exceptions(plan, common);
  if (!exceptions.empty()) settings["dynamic"] = exceptions;
  return settings;
}

}  // namespace

bool CanStoreGptq(const Grid& grid) {
  if (grid.grouped == nullptr) return DtypeOf(grid) != nullptr;
  const GroupedSpec& spec = *grid.grouped;
  const GroupedSpec held = {.levels = GroupedLevels::kInteger,
                            .bits = spec.bits,
                            .group = spec.group,
                            .symmetric = spec.symmetric,
                            .scale = Real::kF16,
                            .value = Real::kF16};
  return spec == held;
}

HfFolderPlan LayOutGptq(const CheckpointPlan& plan) {
  HfFolderPlan folder;
  const bool less_one = IsSymmetric(plan);
  for (const TensorPlan& tensor : plan.tensors) {
    if (!IsQuantized(tensor)) {
      folder.tensors.push_back(PlainHfTensor(tensor));
      continue;
    }
    Check(tensor);
    const Layer layer(tensor, less_one);
    folder.tensors.push_back({layer.Entries(Prefix(tensor)), layer});
  }
  const OrderedJson settings = Settings(plan);
  folder.documents = DocumentsWith(plan.documents, settings);
  folder.documents["quantize_config.json"] = DocumentText(settings);
  return folder;
}

}  // namespace halftone
