#include "container/hf_compressed_tensors_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/half.h"
#include "container/hf_compressed_tensors_config.h"
#include "container/hf_compressed_tensors_rows.h"

namespace halftone {
namespace {

constexpr std::string_view kPacked = ".weight_packed";
constexpr std::string_view kWeight = ".weight";

// What the modules do with activations: nothing that changes the weights.
constexpr std::string_view kActivations[] = {".input_scale", ".input_zero_point",
                                             ".input_global_scale", ".output_scale",
                                             ".output_zero_point"};

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + static_cast<int64_t>(a % b != 0); }

// Words that n codes take, one after another and with 32 / bits in each.
int64_t DenseWords(int64_t n, int bits) { return CeilDiv(n * bits, 32); }
int64_t LooseWords(int64_t n, int bits) { return CeilDiv(n, 32 / bits); }

// One module's weight.
class Module {
 public:
  Module(HfParts& parts, std::string prefix, const SafetensorsTensor& main, bool packed)
      : parts_(parts), prefix_(std::move(prefix)), main_(main), packed_(packed) {}

  void Read(const std::vector<CtScheme>& schemes);

 private:
  std::string Name(std::string_view part) const { return prefix_ + "." + std::string(part); }
  const SafetensorsTensor* Take(std::string_view part) { return parts_.Take(Name(part)); }

  void ReadExtents();
  void ReadCodes(const CtScheme& scheme);
  void ReadScales(const CtScheme& scheme);
  std::vector<int64_t> ScaleShape(const CtScheme& scheme) const;
  void ReadZeros(const CtScheme& scheme);
  void ReadGroups();
  CtWeight ReadAs(const CtScheme& scheme);

  HfParts& parts_;
  std::string prefix_;
  const SafetensorsTensor& main_;
  bool packed_;
  CtWeight weight_;
};

// Rows and columns, of the weight itself.
void Module::ReadExtents() {
  if (main_.shape.size() != 2) {
    parts_.FailUnsupported(main_.name, "is {}; only matrices can be read", ShapeText(main_.shape));
  }
  weight_.rows = main_.shape[0];
  weight_.cols = main_.shape[1];
  if (packed_ && main_.dtype->name == "U8") {
    if (weight_.cols > INT64_MAX / 2) parts_.FailFormat(main_.name, "is too large");
    weight_.cols *= 2;
  }
  if (packed_ && main_.dtype->name == "I32") {
    const SafetensorsTensor& shape = parts_.Need(Name("weight_shape"));
    parts_.Expect(shape, {"I64", "I32"}, {2});
    const auto extent = [&](int i) -> int64_t {
      return shape.dtype->bits == 64 ? LoadLe<int64_t>(shape.data.data() + 8 * i)
                                     : LoadLe<int32_t>(shape.data.data() + 4 * i);
    };
    if (extent(0) != weight_.rows || extent(1) < 0) {
      parts_.FailFormat(shape.name, "is [{}, {}], but '{}' has {} rows", extent(0), extent(1),
                        main_.name, weight_.rows);
    }
    weight_.cols = extent(1);
  }
  // Keeps all products of extents and bits far from overflow.
  if (weight_.cols > int64_t{1} << 40 || weight_.rows > int64_t{1} << 40) {
    parts_.FailFormat(main_.name, "is too large");
  }
  if (weight_.cols == 0) parts_.FailUnsupported(main_.name, "has no columns");
}

void Module::ReadCodes(const CtScheme& scheme) {
  const std::string_view dtype = main_.dtype->name;
  weight_.path = parts_.path();
  weight_.codes = main_;
  weight_.bits = scheme.bits;
  if (packed_ && dtype == "I32" && !scheme.floats) {
    const int64_t words = main_.shape[1];
    if (words == DenseWords(weight_.cols, scheme.bits)) {
      weight_.layout = CtCodes::kStream;
    } else if (words == LooseWords(weight_.cols, scheme.bits)) {
      weight_.layout = CtCodes::kWords;
    } else {
      parts_.FailFormat(main_.name, "has {} words a row, but {} weights of {} bits ({}) need {}",
                        words, weight_.cols, scheme.bits, scheme.name,
                        DenseWords(weight_.cols, scheme.bits));
    }
    return;
  }
  if (packed_ && dtype == "U8" && scheme.floats && scheme.bits == 4) {
    weight_.layout = CtCodes::kFloat4;
    return;
  }
  if (!packed_ && dtype == "I8" && !scheme.floats) {
    // Fewer bits may be in use.
    weight_.layout = CtCodes::kSigned;
    weight_.bits = 8;
    return;
  }
  if (!packed_ && dtype == "F8_E4M3" && scheme.floats && scheme.bits == 8) {
    weight_.layout = CtCodes::kFloat8;
    return;
  }
  const char* stored = scheme.floats ? "floats" : "integers";
  parts_.FailFormat(main_.name, "is {}, which does not hold {} of {} bits ({})", dtype, stored,
                    scheme.bits, scheme.name);
}

std::vector<int64_t> Module::ScaleShape(const CtScheme& scheme) const {
  switch (scheme.strategy) {
    case CtStrategy::kTensor:
      return {1};
    case CtStrategy::kChannel:
      return {weight_.rows, 1};
    case CtStrategy::kGroup:
      return {weight_.rows, weight_.cols / scheme.group_size};
    case CtStrategy::kBlock:
      return {CeilDiv(weight_.rows, scheme.block_rows), CeilDiv(weight_.cols, scheme.block_cols)};
  }
  return {};
}

void Module::ReadScales(const CtScheme& scheme) {
  const SafetensorsTensor& scales = parts_.Need(Name("weight_scale"));
  if (scheme.strategy == CtStrategy::kGroup && weight_.cols % scheme.group_size != 0) {
    parts_.FailFormat(main_.name, "{} columns are no multiple of the group size {} ({})",
                      weight_.cols, scheme.group_size, scheme.name);
  }
  weight_.row_block = scheme.strategy == CtStrategy::kTensor  ? std::numeric_limits<int64_t>::max()
                      : scheme.strategy == CtStrategy::kBlock ? scheme.block_rows
                                                              : 1;
  weight_.whole_rows =
      scheme.strategy == CtStrategy::kTensor || scheme.strategy == CtStrategy::kChannel;
  weight_.group = scheme.strategy == CtStrategy::kGroup   ? scheme.group_size
                  : scheme.strategy == CtStrategy::kBlock ? scheme.block_cols
                                                          : weight_.cols;
  std::vector<int64_t> shape = ScaleShape(scheme);
  weight_.scale_cols = shape.back();
  // One scale for all, and one for each row, have been written in other shapes too.
  if (scales.shape.size() != shape.size() && weight_.whole_rows &&
      scales.data.size() * 8 ==
          static_cast<uint64_t>(scales.dtype->bits) * static_cast<uint64_t>(shape[0])) {
    shape = scales.shape;
  }
  const bool four = weight_.layout == CtCodes::kFloat4;
  const SafetensorsTensor* divisor = four ? Take("weight_global_scale") : nullptr;
  if (divisor != nullptr) {
    parts_.Expect(scales, {"F8_E4M3"}, shape);
    parts_.Expect(*divisor, {"F32"}, {1});
    weight_.divisor = LoadLe<float>(divisor->data.data());
    if (!std::isfinite(*weight_.divisor) || *weight_.divisor == 0) {
      parts_.FailFormat(divisor->name, "is {}, must be finite and not 0", *weight_.divisor);
    }
  } else if (four) {
    if (scales.dtype->name != "U8") parts_.Need(Name("weight_global_scale"));
    parts_.Expect(scales, {"U8"}, shape);
  } else if (weight_.layout == CtCodes::kFloat8) {
    parts_.Expect(scales, {"BF16", "F16", "F32", "U8"}, shape);
  } else {
    parts_.Expect(scales, {"BF16", "F16", "F32"}, shape);
  }
  weight_.scales = scales;
}

void Module::ReadZeros(const CtScheme& scheme) {
  if (scheme.symmetric) {
    // Older versions wrote zeros for them.
    const SafetensorsTensor* zeros = Take("weight_zero_point");
    if (zeros != nullptr && std::ranges::any_of(zeros->data, [](uint8_t b) { return b != 0; })) {
      parts_.FailFormat(zeros->name, "is not zero in a symmetric scheme ({})", scheme.name);
    }
    return;
  }
  const SafetensorsTensor& zeros = parts_.Need(Name("weight_zero_point"));
  weight_.zeros_packed = packed_ && scheme.strategy != CtStrategy::kTensor;
  if (weight_.zeros_packed) {
    const int64_t words = weight_.layout == CtCodes::kWords ? LooseWords(weight_.rows, scheme.bits)
                                                            : DenseWords(weight_.rows, scheme.bits);
    parts_.Expect(zeros, {"I32"}, {words, weight_.scale_cols});
  } else {
    parts_.Expect(zeros, {"I8"}, weight_.scales.shape);
  }
  weight_.zeros = zeros;
}

// Old act-order. -1: not in use.
void Module::ReadGroups() {
  const SafetensorsTensor* groups = Take("weight_g_idx");
  if (groups == nullptr) return;
  parts_.Expect(*groups, {"I32"}, {weight_.cols});
  weight_.group_of.resize(static_cast<size_t>(weight_.cols));
  std::memcpy(weight_.group_of.data(), groups->data.data(), groups->data.size());
  if (std::ranges::find(weight_.group_of, -1) != weight_.group_of.end()) weight_.group_of.clear();
  for (const int32_t group : weight_.group_of) {
    if (group < 0 || group >= weight_.scale_cols) {
      parts_.FailFormat(groups->name, "names group {} of {}", group, weight_.scale_cols);
    }
  }
}

CtWeight Module::ReadAs(const CtScheme& scheme) {
  weight_ = {};
  ReadExtents();
  ReadCodes(scheme);
  ReadScales(scheme);
  ReadZeros(scheme);
  ReadGroups();
  return weight_;
}

// The first group that agrees with the tensors; with several groups an error tells about the last.
// Groups that agree and read the same tensors differently cannot be told apart without the classes
// of the modules: only 7 and 8 bits in old files come so near.
void Module::Read(const std::vector<CtScheme>& schemes) {
  std::optional<CtWeight> found;
  std::optional<Error> mismatch;
  for (const CtScheme& scheme : schemes) {
    try {
      CtWeight weight = ReadAs(scheme);
      if (!found) {
        found = std::move(weight);
      } else if (found->bits != weight.bits || found->layout != weight.layout) {
        parts_.FailUnsupported(main_.name, "may be of {} or of {} bits", found->bits, weight.bits);
      }
    } catch (const Error& error) {
      if (error.kind() != Error::Kind::kFormat) throw;
      mismatch = error;
    }
  }
  if (!found && mismatch) throw *mismatch;
  if (!found) parts_.FailFormat(main_.name, "is compressed, but no group of the configuration is");
  parts_.Take(main_.name);
  for (const std::string_view suffix : kActivations) parts_.Take(prefix_ + std::string(suffix));
  parts_.Put(main_, MakeCtTensor(prefix_ + std::string(kWeight), *std::move(found)));
}

}  // namespace

void ReadCtWeights(HfParts& parts) {
  const std::vector<CtScheme> schemes = ReadCtSchemes(parts);
  for (const SafetensorsTensor& tensor : parts.tensors()) {
    const bool packed = tensor.name.ends_with(kPacked);
    if (!packed && !tensor.name.ends_with(kWeight)) continue;
    const size_t suffix = packed ? kPacked.size() : kWeight.size();
    const std::string prefix = tensor.name.substr(0, tensor.name.size() - suffix);
    if (!packed && parts.Find(prefix + ".weight_scale") == nullptr) {
      // Without a scale bytes are not plain weights.
      if (tensor.dtype->bits == 8) parts.Need(prefix + ".weight_scale");
      continue;
    }
    if (tensor.grid() != nullptr && tensor.dtype->bits > 8 && !packed) {
      parts.FailUnsupported(tensor.name, "has a scale but is not compressed");
    }
    Module(parts, prefix, tensor, packed).Read(schemes);
  }
}

}  // namespace halftone
