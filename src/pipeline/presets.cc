#include "pipeline/presets.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "base/nearest_name.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

// What a matrix does, as far as the rules tell tensors apart.
enum Kind {
  kAny,     // in rules: every kind
  kOutput,  // the head; also an embedding that serves as the head
  kEmbedding,
  kValue,  // attention values, also where they are fused with queries and keys
  kKey,
  kQuery,
  kAttentionOutput,
  kGate,
  kUp,
  kDown,
  kOther,
};

// Conditions of a rule; all that are set must hold. i is the tensor's position among those of its
// kind in the file's order, or the layer's number where a layer holds experts; n is how many
// positions there are.
enum When : unsigned {
  kAlways = 0,
  kFalcon = 1u << 0,      // the architecture
  kSeventy = 1u << 1,     // llama's 70B: 80 layers whose heads share keys
  kShared4 = 1u << 2,     // at least four heads share a key
  kExperts4 = 1u << 3,    // at least four experts
  kExperts8 = 1u << 4,    // exactly eight
  kImportance = 1u << 5,  // importances are given
  kNoImportance = 1u << 6,
  kFlat = 1u << 7,            // one matrix, no stack of experts
  kUneven = 1u << 8,          // rows are no whole number of the base grid's blocks
  kCoarser = 1u << 9,         // the base grid has fewer bits a weight than the rule's
  kFirst2 = 1u << 10,         // i < 2
  kFirst4 = 1u << 11,         // i < 4
  kEighth = 1u << 12,         // i < n/8
  kSixteenth = 1u << 13,      // i < n/16
  kMiddle = 1u << 14,         // n/8 <= i < 7n/8
  kMore = 1u << 15,           // i < n/8, i >= 7n/8, and every third between
  kCountedEighth = 1u << 16,  // kEighth with i counted also where there are experts
};

struct KindRow {
  std::string_view contains;
  Kind kind;
};

struct RuleRow {
  Kind kind;
  std::string_view presets;
  unsigned when;
  std::string_view grid;
};

struct RaiseRow {
  Kind kind;
  std::string_view presets;
  unsigned when;
  std::string_view from, to;
};

struct FallbackRow {
  std::string_view grids;
  std::string_view grid;
};

struct RequiresRow {
  std::string_view presets;
  std::string_view grids;
};

struct FileTypeRow {
  std::string_view grid;
  int type;
};

#include "pipeline/presets.def"

// Whether a list of names, separated by spaces, has `name`; "x*" stands for all that begin with x.
bool Lists(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(' '), list.size());
    std::string_view word = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (word.ends_with('*')) {
      word.remove_suffix(1);
      if (name.starts_with(word)) return true;
    } else if (name == word) {
      return true;
    }
  }
  return false;
}

// The number N of "blk.N.", or -1.
int64_t LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t layer = -1;
  const auto [end, error] =
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return error == std::errc() ? layer : -1;
}

// Dimensions without the outermost ones of extent 1, which GGUF does not store.
size_t Dimensions(const Tensor& tensor) {
  const auto first = std::ranges::find_if(tensor.shape, [](int64_t d) { return d != 1; });
  return static_cast<size_t>(tensor.shape.end() - first);
}

bool IsQuantizable(const Tensor& tensor) {
  if (Dimensions(tensor) < 2 || !tensor.name.ends_with("weight")) return false;
  return std::ranges::none_of(
      kKept, [&](std::string_view kept) { return tensor.name.find(kept) != std::string::npos; });
}

Kind KindOf(const Tensor& tensor, const ModelShape& shape) {
  const std::string& name = tensor.name;
  if (name == "output.weight") return kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") {
    return shape.tied ? kOutput : kEmbedding;
  }
  for (const KindRow& row : kKinds) {
    if (name.find(row.contains) != std::string::npos) return row.kind;
  }
  return kOther;
}

// Conditions that are the same for every tensor of the model.
unsigned HoldForModel(const ModelShape& shape, bool has_importance) {
  const auto is = [&](std::string_view architecture) { return shape.architecture == architecture; };
  unsigned hold = has_importance ? kImportance : kNoImportance;
  if (is("falcon")) hold |= kFalcon;
  if ((is("llama") || is("qwen2") || is("deci") || is("olmo")) && shape.layers == 80 &&
      shape.heads != shape.kv_heads) {
    hold |= kSeventy;
  }
  if (shape.kv_heads > 0 && shape.heads / shape.kv_heads >= 4) hold |= kShared4;
  if (shape.experts >= 4) hold |= kExperts4;
  if (shape.experts == 8) hold |= kExperts8;
  return hold;
}

unsigned HoldAtPosition(int64_t i, int64_t n) {
  n = std::clamp<int64_t>(n, 0, int64_t{1} << 32);  // from a file: 7 * n must not overflow
  unsigned hold = 0;
  if (i < 2) hold |= kFirst2;
  if (i < 4) hold |= kFirst4;
  if (i < n / 8) hold |= kEighth;
  if (i < n / 16) hold |= kSixteenth;
  const bool middle = i >= n / 8 && i < 7 * n / 8;
  if (middle) hold |= kMiddle;
  if (!middle || (i - n / 8) % 3 == 2) hold |= kMore;
  return hold;
}

// Chooses for one tensor after another, counting those of each kind.
class Chooser {
 public:
  Chooser(const Preset& preset, const ModelShape& shape, bool has_importance)
      : preset_(preset),
        shape_(shape),
        base_(BaseGrid(preset)),
        model_(HoldForModel(shape, has_importance)) {
    for (const RuleRow& rule : kRules) {
      if (Lists(rule.presets, preset.name)) rules_.push_back(&rule);
    }
  }

  // Among how many tensors of its kind a tensor is counted; for the mixes' sake only attention
  // values are taken from the file, the rest is one for each layer.
  void CountValues(std::span<const Tensor* const> tensors) {
    for (const Tensor* tensor : tensors) values_ += KindOf(*tensor, shape_) == kValue;
  }

  TensorChoice Choose(const Tensor& tensor) {
    if (!IsQuantizable(tensor)) return Keep(tensor);
    if (base_.grouped != nullptr) return Group(tensor);
    if (base_.plain) return {&base_, true, "", false};
    const Kind kind = KindOf(tensor, shape_);
    const Grid* grid = Raise(kind, ByRule(kind, Hold(kind, tensor)));
    TensorChoice choice = FitRows(*grid, tensor.cols());
    if (choice.note.empty() && !preset_.mix && grid != &base_) {
      choice.note = "the output is sensitive";
      if (kind == kEmbedding) choice.note = "the embedding is sensitive";
    }
    choice.needs_importance = RequiresImportance(tensor.name, *choice.grid);
    return choice;
  }

 private:
  // Vectors of halves become floats, as every GGUF file has them: nothing is lost, and llama.cpp's
  // operators take no others.
  static TensorChoice Keep(const Tensor& tensor) {
    const bool halves = tensor.grid->plain && tensor.grid->writable() && tensor.grid != &F32Grid();
    if (halves && Dimensions(tensor) < 2) return {&F32Grid(), true, "", false};
    return {tensor.grid, false, "", false};
  }

  // The linear layers alone: checkpoints of these grids keep embedding and output as they are.
  TensorChoice Group(const Tensor& tensor) const {
    const Kind kind = KindOf(tensor, shape_);
    if (kind == kOutput || kind == kEmbedding) return {tensor.grid, false, "", false};
    const int64_t cols = tensor.cols();
    const GroupedSpec& spec = *base_.grouped;
    if (spec.group > 0 && cols % spec.group != 0) {
      return {tensor.grid, false, fmt::format("{} columns are no multiple of {}", cols, spec.group),
              false};
    }
    return {&GroupedGrid(spec, cols), true, "", false};
  }

  // The conditions that hold for this tensor, which is thereby counted.
  unsigned Hold(Kind kind, const Tensor& tensor) {
    unsigned hold = model_;
    const size_t dimensions = tensor.shape.size();
    if (dimensions < 3 || tensor.shape[dimensions - 3] == 1) hold |= kFlat;
    if (tensor.cols() % base_.block != 0) hold |= kUneven;

    const int64_t counted = count_[kind]++;
    const int64_t n = kind == kValue ? values_ : shape_.layers;
    const int64_t layer = LayerOf(tensor.name);
    const bool by_layer = kind != kValue && shape_.experts > 1 && layer >= 0;
    hold |= HoldAtPosition(by_layer ? layer : counted, n);
    if (counted < n / 8) hold |= kCountedEighth;
    return hold;
  }

  const Grid* ByRule(Kind kind, unsigned hold) const {
    const bool general = kind == kOutput || kind == kEmbedding;
    if (!preset_.mix && !general) return &base_;
    for (const RuleRow* rule : rules_) {
      if (rule->kind != kind && rule->kind != kAny) continue;
      const Grid* grid = rule->grid.empty() ? &base_ : &GridNamed(rule->grid);
      const bool coarser = base_.bits_per_weight() < grid->bits_per_weight();
      if ((rule->when & ~(hold | (coarser ? kCoarser : 0u))) == 0) return grid;
    }
    return &base_;
  }

  const Grid* Raise(Kind kind, const Grid* grid) const {
    for (const RaiseRow& row : kRaises) {
      if (row.kind == kind && row.from == grid->name && Lists(row.presets, preset_.name) &&
          preset_.mix && (row.when & ~model_) == 0) {
        return &GridNamed(row.to);
      }
    }
    return grid;
  }

  // The grid itself or, for rows that are no whole number of its blocks, what comes nearest.
  static TensorChoice FitRows(const Grid& grid, int64_t cols) {
    const Grid* fit = &grid;
    while (cols % fit->block != 0) {
      const auto row = std::ranges::find_if(
          kFallbacks, [&](const FallbackRow& r) { return Lists(r.grids, fit->name); });
      fit = &GridNamed(row->grid);
    }
    std::string note;
    if (fit != &grid) note = fmt::format("{} columns are no multiple of {}", cols, grid.block);
    return {fit, true, std::move(note), false};
  }

  bool RequiresImportance(std::string_view name, const Grid& grid) const {
    // By name: a tied embedding counts as an embedding here.
    if (name == "output.weight" || name.ends_with("token_embd.weight")) return false;
    return std::ranges::any_of(kRequires, [&](const RequiresRow& row) {
      return Lists(row.presets, preset_.name) && Lists(row.grids, grid.name);
    });
  }

  const Preset& preset_;
  const ModelShape& shape_;
  const Grid& base_;
  const unsigned model_;
  std::vector<const RuleRow*> rules_;
  int64_t values_ = 0;
  int64_t count_[kOther + 1] = {};
};

// Presets of grouped grids, made when they are first asked for.
const Preset* GroupedPreset(std::string_view name) {
  if (!ParseGroupedName(name)) return nullptr;
  static std::mutex mutex;
  static std::map<std::string, Preset, std::less<>> presets;
  const std::lock_guard lock(mutex);
  auto it = presets.find(name);
  if (it == presets.end()) {
    it = presets.emplace(std::string(name), Preset{}).first;
    it->second = {it->first, "every linear layer on this grid", it->first, -1, false, false};
  }
  return &it->second;
}

bool IsWritable(std::string_view grid) {
  const Grid* found = FindGrid(grid);
  return found != nullptr && found->writable();
}

// Whether every grid that the mix may put somewhere can be written.
bool IsUsable(const Preset& mix) {
  return IsWritable(mix.base) && std::ranges::all_of(kRules, [&](const RuleRow& rule) {
           return !Lists(rule.presets, mix.name) || rule.grid.empty() || IsWritable(rule.grid);
         });
}

Preset SingleGrid(const Grid& grid) {
  const auto row = std::ranges::find(kFileTypes, grid.name, &FileTypeRow::grid);
  const int type = row == std::end(kFileTypes) ? -1 : row->type;
  return {grid.name, grid.plain ? "every matrix as plain numbers" : "every matrix on this grid",
          grid.name, type,
          false,     false};
}

std::vector<Preset> ListPresets() {
  std::vector<Preset> presets;
  std::ranges::copy_if(kMixes, std::back_inserter(presets), IsUsable);
  for (const Grid* grid : AllGrids()) {
    if (!grid->writable()) continue;
    if (std::ranges::find(presets, grid->name, &Preset::name) != presets.end()) continue;
    presets.push_back(SingleGrid(*grid));
  }
  return presets;
}

}  // namespace

std::span<const Preset> AllPresets() {
  static const std::vector<Preset> presets = ListPresets();
  return presets;
}

std::span<const Preset> AllMixes() { return kMixes; }

const Preset* FindPreset(std::string_view name) {
  const auto presets = AllPresets();
  const auto it = std::ranges::find(presets, name, &Preset::name);
  return it == presets.end() ? nullptr : &*it;
}

std::span<const std::string_view> ComparisonPresets() {
  static const std::vector<std::string_view> presets = [] {
    std::vector<std::string_view> list;
    std::ranges::copy_if(kCompared, std::back_inserter(list), FindPreset);
    return list;
  }();
  return presets;
}

const Grid& BaseGrid(const Preset& preset) {
  constexpr int64_t kAnyRow = 8;
  if (const Grid* grid = FindGrid(preset.base, kAnyRow)) return *grid;
  return GridNamed(preset.base);
}

const Preset& PresetNamed(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (const Preset* preset = FindPreset(lower)) return *preset;
  if (const Preset* preset = GroupedPreset(lower)) return *preset;
  if (FindGrid(lower) != nullptr) FailUsage("grid '{}' can be read but not written", lower);
  if (std::ranges::find(kMixes, lower, &Preset::name) != std::end(kMixes)) {
    FailUsage("'{}' needs a grid that can be read but not written", lower);
  }
  std::vector<std::string_view> names;
  for (const Preset& preset : AllPresets()) names.push_back(preset.name);
  FailUsage("unknown grid '{}'; did you mean '{}'?", name, NearestName(lower, names));
}

std::vector<TensorChoice> ChooseGrids(const Preset& preset, const ModelShape& shape,
                                      std::span<const Tensor* const> tensors, bool has_importance) {
  Chooser chooser(preset, shape, has_importance);
  chooser.CountValues(tensors);
  std::vector<TensorChoice> choices;
  choices.reserve(tensors.size());
  for (const Tensor* tensor : tensors) choices.push_back(chooser.Choose(*tensor));
  return choices;
}

void SortForFile(std::vector<const Tensor*>& tensors) {
  std::ranges::stable_sort(tensors, [](const Tensor* a, const Tensor* b) {
    const int64_t layer_a = LayerOf(a->name), layer_b = LayerOf(b->name);
    return std::tie(layer_a, a->name) < std::tie(layer_b, b->name);
  });
}

}  // namespace halftone
