#include "container/hf_gptq_layer.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "container/hf_packed_rows.h"

namespace halftone {
namespace {

constexpr int kBits[] = {2, 3, 4, 8};
// Column numbers are 32 bits wide, and byte counts must not overflow.
constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();

void ExpectMatrix(const HfParts& parts, const SafetensorsTensor& t) {
  if (t.shape.size() != 2 || t.shape[0] > kMaxExtent || t.shape[1] > kMaxExtent) {
    parts.FailFormat(t.name, "has shape {}, must be a matrix", ShapeText(t.shape));
  }
}

Real RealOf(const HfParts& parts, const SafetensorsTensor& scales) {
  if (scales.dtype->name == "F16") return Real::kF16;
  if (scales.dtype->name == "BF16") return Real::kBf16;
  if (scales.dtype->name == "F32") return Real::kF32;
  parts.FailFormat(scales.name, "is {}, must be F16, BF16 or F32", scales.dtype->name);
}

// Whether the shapes of codes and zeros are those of `bits`; `in` is -1 if nothing says it.
bool Fits(const GptqLayer& layer, int64_t in, int bits) {
  const int64_t words = layer.qweight.shape[0];
  const bool whole = in >= 0 ? PackedWords(in, bits) == words : words * 32 % bits == 0;
  return whole && PackedWords(layer.out, bits) == layer.qzeros.shape[1];
}

int BitsOf(const HfParts& parts, const GptqSettings& settings, const GptqLayer& layer, int64_t in) {
  if (settings.bits && Fits(layer, in, static_cast<int>(*settings.bits))) {
    return static_cast<int>(*settings.bits);
  }
  if (!settings.bits || settings.varied) {
    for (const int bits : kBits) {
      if (Fits(layer, in, bits)) return bits;
    }
  }
  parts.FailFormat(layer.qweight.name, "the shapes {} and {} (zeros) do not fit {} bits{}",
                   ShapeText(layer.qweight.shape), ShapeText(layer.qzeros.shape),
                   settings.bits.value_or(0),
                   in >= 0 ? " and the " + std::to_string(in) + " inputs of g_idx" : "");
}

// Sets `group` from the number of groups and the settings.
void SetGroup(const HfParts& parts, const GptqSettings& settings, GptqLayer& layer) {
  const auto groups_of = [&](int64_t size) {
    return size < 0 ? 1 : layer.in / size + (layer.in % size != 0 ? 1 : 0);
  };
  if (layer.groups > std::max<int64_t>(layer.in, 1)) {
    parts.FailFormat(layer.scales.name, "has {} groups of {} inputs", layer.groups, layer.in);
  }
  if (settings.group_size && groups_of(*settings.group_size) == layer.groups) {
    layer.whole_row = *settings.group_size < 0;
    layer.group = layer.whole_row ? layer.in : std::min(*settings.group_size, layer.in);
  } else if (settings.group_size && !settings.varied) {
    parts.FailFormat(layer.scales.name, "has {} groups; {} inputs in groups of {} make {}",
                     layer.groups, layer.in, *settings.group_size, groups_of(*settings.group_size));
  } else if (layer.groups > 0 && layer.in % layer.groups == 0) {
    layer.group = layer.in / layer.groups;
  } else {
    parts.FailFormat(layer.scales.name, "{} inputs do not divide into {} groups", layer.in,
                     layer.groups);
  }
  layer.group = std::max<int64_t>(layer.group, 1);  // a layer without inputs
}

std::vector<int32_t> ReadGroups(const HfParts& parts, const SafetensorsTensor& g_idx,
                                const GptqLayer& layer) {
  std::vector<int32_t> groups(static_cast<size_t>(layer.in));
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i] = LoadLe<int32_t>(g_idx.data.data() + i * sizeof(int32_t));
    if (groups[i] < 0 || groups[i] >= layer.groups) {
      parts.FailFormat(g_idx.name, "input {} is in group {} of {}", i, groups[i], layer.groups);
    }
  }
  return groups;
}

// Keeps the group of each input where it is no matter of course, and an order of the inputs if all
// groups have the same size.
void SetOrder(const GptqSettings& settings, std::vector<int32_t> group_of, GptqLayer& layer) {
  bool in_order = true, all_first = true;
  std::vector<int64_t> sizes(static_cast<size_t>(layer.groups));
  for (size_t i = 0; i < group_of.size(); ++i) {
    in_order = in_order && group_of[i] == static_cast<int64_t>(i) / layer.group;
    all_first = all_first && group_of[i] == 0;
    ++sizes[static_cast<size_t>(group_of[i])];
  }
  // Some programs leave zeros where nothing is reordered.
  if (in_order || (all_first && !settings.act_order)) return;
  if (std::ranges::all_of(sizes, [&](int64_t size) { return size == layer.group; })) {
    std::vector<int32_t> order(group_of.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, {}, [&](int32_t i) { return group_of[i]; });
    layer.order = std::make_shared<const std::vector<int32_t>>(std::move(order));
  }
  layer.group_of = std::move(group_of);
}

}  // namespace

GptqLayer ReadGptqLayer(HfParts& parts, const GptqSettings& settings, const std::string& prefix) {
  GptqLayer layer;
  layer.name = prefix + ".weight";
  if (parts.Find(layer.name) != nullptr) {
    parts.FailFormat(layer.name, "is there twice, plain and quantized");
  }
  layer.qweight = parts.Need(prefix + ".qweight");
  layer.qzeros = parts.Need(prefix + ".qzeros");
  layer.scales = parts.Need(prefix + ".scales");
  for (const auto* t : {&layer.qweight, &layer.qzeros, &layer.scales}) ExpectMatrix(parts, *t);
  layer.groups = layer.scales.shape[0];
  layer.out = layer.qweight.shape[1];
  layer.real = RealOf(parts, layer.scales);
  parts.Expect(layer.qweight, {"I32"}, layer.qweight.shape);
  parts.Expect(layer.scales, {layer.scales.dtype->name}, {layer.groups, layer.out});

  const SafetensorsTensor* g_idx = parts.Take(prefix + ".g_idx");
  int64_t in = -1;
  if (g_idx != nullptr) {
    if (g_idx->shape.size() != 1 || g_idx->shape[0] > kMaxExtent) {
      parts.FailFormat(g_idx->name, "has shape {}, must be a list", ShapeText(g_idx->shape));
    }
    in = g_idx->shape[0];
    parts.Expect(*g_idx, {"I32"}, {in});
  }
  layer.bits = BitsOf(parts, settings, layer, in);
  layer.in = in >= 0 ? in : layer.qweight.shape[0] * 32 / layer.bits;
  if (layer.in > kMaxExtent) parts.FailFormat(layer.qweight.name, "has {} inputs", layer.in);
  parts.Expect(layer.qzeros, {"I32"}, {layer.groups, PackedWords(layer.out, layer.bits)});
  SetGroup(parts, settings, layer);
  if (g_idx != nullptr) {
    SetOrder(settings, ReadGroups(parts, *g_idx, layer), layer);
  } else if (settings.act_order && layer.groups > 1) {
    FailFormat("{}: tensor '{}.g_idx' is missing, which desc_act needs", parts.path(), prefix);
  }
  return layer;
}

}  // namespace halftone
