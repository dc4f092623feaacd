#include "container/hf_compressed_tensors_writer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/hf_codes.h"
#include "container/hf_folder_writer.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr int kMxfp4 = 39;  // as GGUF numbers it

// The version that wrote the packing which is written here first: codes without gaps.
constexpr std::string_view kVersion = "0.20.0";

bool IsMx(const Grid& grid) { return grid.gguf_type == kMxfp4; }
bool IsQuantized(const Grid& grid) { return grid.grouped != nullptr || IsMx(grid); }

std::string Prefix(const TensorPlan& tensor) {
  return tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

int64_t PackedWords(int64_t n, int bits) { return (n * bits + 31) / 32; }

void Check(const TensorPlan& tensor) {
  const std::string name = Printable(tensor.name);
  if (!CanStoreCt(*tensor.grid)) {
    FailUsage("tensor '{}': compressed-tensors cannot hold grid '{}'", name, tensor.grid->name);
  }
  if (tensor.order != nullptr) {
    FailUsage("tensor '{}': compressed-tensors has columns in their order", name);
  }
  if (IsQuantized(*tensor.grid) && (!tensor.name.ends_with(kWeight) || tensor.shape.size() != 2)) {
    FailUsage("tensor '{}': compressed-tensors quantizes matrices named '<layer>.weight', not {}",
              name, ShapeText(tensor.shape));
  }
}

// Takes the blocks of a grouped grid apart.
class Grouped {
 public:
  explicit Grouped(const TensorPlan& tensor)
      : grid_(*tensor.grid),
        spec_(*tensor.grid->grouped),
        rows_(tensor.shape[0]),
        cols_(tensor.shape[1]),
        groups_(cols_ / grid_.block),
        packed_(spec_.levels == GroupedLevels::kInteger) {}

  std::vector<SafetensorsEntry> Entries(const std::string& prefix) const {
    const SafetensorsDtype* i32 = FindSafetensorsDtype("I32");
    std::vector<SafetensorsEntry> entries;
    if (packed_) {
      entries.push_back({prefix + ".weight_packed", i32, {rows_, PackedWords(cols_, spec_.bits)}});
    } else {
      entries.push_back({prefix + ".weight", FindSafetensorsDtype("F8_E4M3"), {rows_, cols_}});
    }
    entries.push_back({prefix + ".weight_scale", &DtypeOf(spec_.scale), {rows_, groups_}});
    if (packed_) entries.push_back({prefix + ".weight_shape", FindSafetensorsDtype("I64"), {2}});
    if (!spec_.symmetric) {
      entries.push_back(
          {prefix + ".weight_zero_point", i32, {PackedWords(rows_, spec_.bits), groups_}});
    }
    return entries;
  }

  void operator()(std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) const {
    const auto scale_bytes = static_cast<size_t>(ScaleBytes(spec_.scale));
    const int64_t code_bytes = grid_.block * spec_.bits / 8;
    const int64_t row_bytes = packed_ ? PackedWords(cols_, spec_.bits) * 4 : cols_;
    std::vector<uint8_t> zeros(spec_.symmetric ? 0 : static_cast<size_t>(rows_ * groups_));
    const uint8_t* block = blocks.data();
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t g = 0; g < groups_; ++g, block += grid_.bytes) {
        std::memcpy(parts[1].data() + static_cast<size_t>(r * groups_ + g) * scale_bytes, block,
                    scale_bytes);
        const uint8_t* codes = block + scale_bytes;
        if (!spec_.symmetric) zeros[g * rows_ + r] = *codes++;
        uint8_t* to = parts[0].data() + r * row_bytes + g * code_bytes;
        if (spec_.bits == 4) {
          NibblesFromBlock(codes, FirstNibble::kLow, grid_.block, to);
        } else {
          std::memcpy(to, codes, static_cast<size_t>(code_bytes));
        }
      }
    }
    if (packed_) {
      StoreLe(parts[2].data(), rows_);
      StoreLe(parts[2].data() + 8, cols_);
    }
    if (!spec_.symmetric) PackZeros(zeros, parts[3]);
  }

 private:
  // zeros: [groups, rows], one a byte. Packed along the rows: [words, groups].
  void PackZeros(const std::vector<uint8_t>& zeros, std::vector<uint8_t>& packed) const {
    const int64_t words = PackedWords(rows_, spec_.bits);
    std::vector<uint8_t> column(static_cast<size_t>(words) * 4);
    for (int64_t g = 0; g < groups_; ++g) {
      PackBits(zeros.data() + g * rows_, spec_.bits, rows_, column.data());
      for (int64_t w = 0; w < words; ++w) {
        std::memcpy(packed.data() + 4 * (w * groups_ + g), column.data() + 4 * w, 4);
      }
    }
  }

  const Grid& grid_;
  const GroupedSpec& spec_;
  int64_t rows_, cols_, groups_;
  bool packed_;
};

HfTensor MxTensor(const TensorPlan& tensor) {
  const int64_t rows = tensor.shape[0], groups = tensor.shape[1] / 32;
  const SafetensorsDtype* u8 = FindSafetensorsDtype("U8");
  HfTensor hf;
  hf.entries = {{Prefix(tensor) + ".weight_packed", u8, {rows, groups * 16}},
                {Prefix(tensor) + ".weight_scale", u8, {rows, groups}}};
  hf.lay_out = [n = rows * groups, bytes = tensor.grid->bytes](
                   std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) {
    for (int64_t i = 0; i < n; ++i) {
      parts[1][i] = blocks[i * bytes];
      NibblesFromBlock(blocks.data() + i * bytes + 1, FirstNibble::kLow, 32,
                       parts[0].data() + i * 16);
    }
  };
  return hf;
}

HfTensor TensorOf(const TensorPlan& tensor) {
  if (!IsQuantized(*tensor.grid)) return PlainHfTensor(tensor);
  if (IsMx(*tensor.grid)) return MxTensor(tensor);
  const Grouped grouped(tensor);
  return {.entries = grouped.Entries(Prefix(tensor)), .lay_out = grouped};
}

// ---- quantization_config ----

std::string_view FormatOf(const Grid& grid) {
  if (IsMx(grid)) return "mxfp4-pack-quantized";
  return grid.grouped->levels == GroupedLevels::kInteger ? "pack-quantized" : "float-quantized";
}

OrderedJson WeightsOf(const Grid& grid) {
  const bool mx = IsMx(grid);
  const bool integer = !mx && grid.grouped->levels == GroupedLevels::kInteger;
  const int group = mx ? 32 : grid.grouped->group;
  OrderedJson weights = {{"num_bits", mx ? 4 : grid.grouped->bits},
                         {"type", integer ? "int" : "float"},
                         {"symmetric", mx || grid.grouped->symmetric},
                         {"strategy", group > 0 ? "group" : "channel"},
                         {"group_size", group > 0 ? OrderedJson(group) : OrderedJson()},
                         {"dynamic", false}};
  if (mx) weights["scale_dtype"] = "torch.uint8";
  return weights;
}

// A group for each way in which weights are stored: the most used one is for all linear layers,
// the others name theirs, which goes first.
struct Groups {
  OrderedJson json = OrderedJson::object();
  std::string format = "pack-quantized";
};

Groups GroupsOf(const CheckpointPlan& plan) {
  struct Scheme {
    const Grid* grid;
    std::vector<std::string> modules;
  };
  std::map<std::string, Scheme> schemes;  // by their JSON; grids of rows differ in their length
  for (const TensorPlan& tensor : plan.tensors) {
    if (!IsQuantized(*tensor.grid)) continue;
    Scheme& scheme = schemes[WeightsOf(*tensor.grid).dump()];
    scheme.grid = tensor.grid;
    scheme.modules.push_back(Prefix(tensor));
  }
  std::vector<Scheme> sorted;
  for (auto& [key, scheme] : schemes) sorted.push_back(std::move(scheme));
  std::ranges::stable_sort(sorted, std::greater(),
                           [](const Scheme& s) { return s.modules.size(); });
  Groups groups;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const std::string_view format = FormatOf(*sorted[i].grid);
    OrderedJson targets = {"Linear"};
    if (i > 0) targets = sorted[i].modules;
    groups.json["group_" + std::to_string(i)] = {{"targets", targets},
                                                 {"weights", WeightsOf(*sorted[i].grid)},
                                                 {"input_activations", nullptr},
                                                 {"output_activations", nullptr},
                                                 {"format", format}};
    groups.format = i == 0 || groups.format == format ? format : "mixed-precision";
  }
  return groups;
}

// Matrices that stay plain. To name embeddings, too, does no harm; a head that is tied to them has
// no tensor.
OrderedJson Ignored(const CheckpointPlan& plan) {
  OrderedJson modules = OrderedJson::array();
  bool head = false;
  for (const TensorPlan& tensor : plan.tensors) {
    head |= tensor.name == "lm_head.weight";
    if (!IsQuantized(*tensor.grid) && tensor.shape.size() >= 2 && tensor.name.ends_with(kWeight)) {
      modules.push_back(Prefix(tensor));
    }
  }
  if (!head) modules.push_back("lm_head");
  return modules;
}

OrderedJson Settings(const CheckpointPlan& plan) {
  const Groups groups = GroupsOf(plan);
  return {{"quant_method", "compressed-tensors"},
          {"format", groups.format},
          {"quantization_status", "compressed"},
          {"config_groups", groups.json},
          {"ignore", Ignored(plan)},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr},
          {"version", kVersion}};
}

HfFolderPlan LayOut(const CheckpointPlan& plan) {
  HfFolderPlan folder;
  for (const TensorPlan& tensor : plan.tensors) {
    Check(tensor);
    folder.tensors.push_back(TensorOf(tensor));
  }
  folder.documents = DocumentsWith(plan.documents, Settings(plan));
  return folder;
}

}  // namespace

bool CanStoreCt(const Grid& grid) {
  if (IsMx(grid)) return true;
  if (grid.grouped == nullptr) {
    // Bytes are not plain numbers to the format's readers.
    return DtypeOf(grid) != nullptr && DtypeOf(grid)->bits > 8;
  }
  const GroupedSpec& spec = *grid.grouped;
  if (spec.scale != spec.value || spec.after != 1) return false;
  return spec.levels == GroupedLevels::kInteger ||
         (spec.levels == GroupedLevels::kE4m3 && spec.symmetric);
}

uint64_t CtBytes(const CheckpointPlan& plan) { return HfFolderBytes(plan, LayOut(plan)); }

std::unique_ptr<CheckpointWriter> CreateCt(const std::filesystem::path& path,
                                           const CheckpointPlan& plan) {
  return CreateHfFolder(path, plan, LayOut(plan));
}

}  // namespace halftone
