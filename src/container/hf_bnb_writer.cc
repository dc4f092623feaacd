#include "container/hf_bnb_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/hf_codes.h"
#include "container/hf_folder_writer.h"
#include "grid/grouped.h"
#include "grid/dynamic_levels.h"
#include "grid/nested_scales.h"

namespace halftone {
namespace {

constexpr std::string_view kWeight = ".weight";

std::string_view TypeName(Real real) {
  return real == Real::kF32 ? "float32" : real == Real::kF16 ? "float16" : "bfloat16";
}

bool IsFour(const GroupedSpec& spec) {
  return spec.levels == GroupedLevels::kNf4 || spec.levels == GroupedLevels::kFp4;
}

std::string_view KindName(const GroupedSpec& spec) {
  return spec.levels == GroupedLevels::kNf4 ? "nf4" : "fp4";
}

// A number of up to this many characters is padded to it, so that the text has its length before
// the number is known; JSON ends with spaces as well as without.
constexpr size_t kOffsetWidth = 24;

// The JSON of a quant_state as Python spells it.
std::string StateText(const GroupedSpec& spec, int block, const std::vector<int64_t>& shape,
                      float offset) {
  std::string extents;
  for (const int64_t extent : shape) {
    extents += (extents.empty() ? "" : ", ") + std::to_string(extent);
  }
  std::string text =
      fmt::format(R"({{"quant_type": "{}", "blocksize": {}, "dtype": "{}", "shape": [{}])",
                  KindName(spec), block, TypeName(spec.value), extents);
  if (!spec.nested) return text + "}";
  const std::string number = Json(static_cast<double>(offset)).dump();
  text +=
      fmt::format(R"(, "nested_blocksize": {}, "nested_dtype": "float32", "nested_offset": {}}})",
                  kNestedBlock, number);
  return text + std::string(kOffsetWidth - number.size(), ' ');
}

template <class T>
void CopyAll(std::span<const T> values, std::vector<uint8_t>& bytes) {
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), values.size_bytes());
}

HfTensor FourBits(const TensorPlan& tensor) {
  const Grid& grid = *tensor.grid;
  const GroupedSpec& spec = *grid.grouped;
  const int64_t groups = static_cast<int64_t>(tensor.bytes()) / grid.bytes;
  const SafetensorsDtype* u8 = FindSafetensorsDtype("U8");
  const SafetensorsDtype* f32 = FindSafetensorsDtype("F32");
  const std::vector<int64_t> shape = tensor.shape;
  const std::string& name = tensor.name;
  const auto text_bytes = static_cast<int64_t>(StateText(spec, grid.block, shape, 0).size());
  HfTensor hf;
  hf.entries = {
      {name, u8, {groups * grid.block / 2, 1}},
      {name + ".absmax", spec.nested ? u8 : f32, {groups}},
      {name + ".quant_map", f32, {16}},
      {name + ".quant_state.bitsandbytes__" + std::string(KindName(spec)), u8, {text_bytes}}};
  if (spec.nested) {
    hf.entries.push_back(
        {name + ".nested_absmax", f32, {(groups + kNestedBlock - 1) / kNestedBlock}});
    hf.entries.push_back({name + ".nested_quant_map", f32, {256}});
  }
  hf.lay_out = [&grid, groups, shape](std::span<const uint8_t> blocks,
                                      std::span<std::vector<uint8_t>> parts) {
    const GroupedSpec& spec = *grid.grouped;
    std::vector<float> scales;
    for (int64_t i = 0; i < groups; ++i) {
      const uint8_t* block = blocks.data() + i * grid.bytes;
      scales.push_back(LoadLe<float>(block));
      NibblesFromBlock(block + 4, FirstNibble::kHigh, grid.block,
                       parts[0].data() + i * grid.block / 2);
    }
    float offset = 0;
    if (spec.nested) {
      const NestedScales nested = QuantizeScales(scales);
      offset = nested.offset;
      CopyAll<uint8_t>(nested.codes, parts[1]);
      CopyAll<float>(nested.absmax, parts[4]);
      CopyAll<float>(DynamicLevels(), parts[5]);
    } else {
      CopyAll<float>(scales, parts[1]);
    }
    CopyAll<float>(LevelsOfCodes(grid), parts[2]);
    CopyAll<char>(StateText(spec, grid.block, shape, offset), parts[3]);
  };
  return hf;
}

HfTensor EightBits(const TensorPlan& tensor) {
  if (!tensor.name.ends_with(kWeight) || tensor.shape.size() != 2) {
    FailUsage("tensor '{}': bitsandbytes' 8 bits are for matrices named '<layer>.weight', not {}",
              Printable(tensor.name), ShapeText(tensor.shape));
  }
  const std::string prefix = tensor.name.substr(0, tensor.name.size() - kWeight.size());
  HfTensor hf;
  hf.entries = {{tensor.name, FindSafetensorsDtype("I8"), tensor.shape},
                {prefix + ".SCB", FindSafetensorsDtype("F32"), {tensor.shape[0]}},
                {prefix + ".weight_format", FindSafetensorsDtype("U8"), {}}};
  hf.lay_out = [&grid = *tensor.grid, rows = tensor.shape[0]](
                   std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* block = blocks.data() + r * grid.bytes;
      std::memcpy(parts[1].data() + 4 * r, block, 4);
      FlipSigns(block + 4, grid.block, parts[0].data() + r * grid.block);
    }
  };
  return hf;
}

// The one kind of weights that a model may have; null where all are plain.
const GroupedSpec* KindOf(const CheckpointPlan& plan) {
  const TensorPlan* first = nullptr;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!CanStoreBnb(*tensor.grid)) {
      FailUsage("tensor '{}': bitsandbytes cannot hold grid '{}'", Printable(tensor.name),
                tensor.grid->name);
    }
    if (tensor.order != nullptr) {
      FailUsage("tensor '{}': bitsandbytes has columns in their order", Printable(tensor.name));
    }
    if (tensor.grid->grouped == nullptr) continue;
    if (first == nullptr) first = &tensor;
    if (tensor.grid->grouped->levels != first->grid->grouped->levels) {
      FailUsage("a model of bitsandbytes has weights of one kind, not '{}' ({}) and '{}' ({})",
                Printable(first->name), first->grid->name, Printable(tensor.name),
                tensor.grid->name);
    }
  }
  return first == nullptr ? nullptr : first->grid->grouped;
}

// Whatever is a matrix and stays plain: linear layers would be expected quantized otherwise. To
// name embeddings, too, does no harm. A head that is tied to them has no tensor.
OrderedJson SkippedModules(const CheckpointPlan& plan) {
  OrderedJson modules = OrderedJson::array();
  bool head = false;
  for (const TensorPlan& tensor : plan.tensors) {
    head |= tensor.name == "lm_head.weight";
    if (tensor.grid->grouped == nullptr && tensor.shape.size() >= 2 &&
        tensor.name.ends_with(kWeight)) {
      modules.push_back(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
    }
  }
  if (!head) modules.push_back("lm_head");
  return modules;
}

OrderedJson Settings(const CheckpointPlan& plan, const GroupedSpec* kind) {
  const bool eight = kind != nullptr && !IsFour(*kind);
  const bool nested = std::ranges::any_of(plan.tensors, [](const TensorPlan& tensor) {
    return tensor.grid->grouped != nullptr && tensor.grid->grouped->nested;
  });
  const GroupedSpec four = kind != nullptr && !eight
                               ? *kind
                               : GroupedSpec{.levels = GroupedLevels::kNf4, .value = Real::kBf16};
  return {{"quant_method", "bitsandbytes"},
          {"load_in_4bit", !eight},
          {"load_in_8bit", eight},
          {"_load_in_4bit", !eight},
          {"_load_in_8bit", eight},
          {"bnb_4bit_compute_dtype", TypeName(four.value)},
          {"bnb_4bit_quant_storage", "uint8"},
          {"bnb_4bit_quant_type", KindName(four)},
          {"bnb_4bit_use_double_quant", nested},
          {"llm_int8_enable_fp32_cpu_offload", false},
          {"llm_int8_has_fp16_weight", false},
          {"llm_int8_skip_modules", SkippedModules(plan)},
          {"llm_int8_threshold", 6.0}};
}

HfFolderPlan LayOut(const CheckpointPlan& plan) {
  const GroupedSpec* kind = KindOf(plan);
  HfFolderPlan folder;
  for (const TensorPlan& tensor : plan.tensors) {
    const GroupedSpec* spec = tensor.grid->grouped;
    folder.tensors.push_back(spec == nullptr ? PlainHfTensor(tensor)
                             : IsFour(*spec) ? FourBits(tensor)
                                             : EightBits(tensor));
  }
  folder.documents = DocumentsWith(plan.documents, Settings(plan, kind));
  return folder;
}

}  // namespace

bool CanStoreBnb(const Grid& grid) {
  if (grid.grouped == nullptr) {
    // Bytes are not plain numbers to the format's readers.
    return DtypeOf(grid) != nullptr && DtypeOf(grid)->bits > 8;
  }
  const GroupedSpec& spec = *grid.grouped;
  if (spec.scale != Real::kF32) return false;
  if (IsFour(spec)) {
    return grid.block >= 32 && grid.block <= 4096 && (grid.block & (grid.block - 1)) == 0;
  }
  return spec.after != 1 && spec.group == 0 && spec.value == Real::kF32;
}

uint64_t BnbBytes(const CheckpointPlan& plan) { return HfFolderBytes(plan, LayOut(plan)); }

std::unique_ptr<CheckpointWriter> CreateBnb(const std::filesystem::path& path,
                                            const CheckpointPlan& plan) {
  return CreateHfFolder(path, plan, LayOut(plan));
}

}  // namespace halftone
