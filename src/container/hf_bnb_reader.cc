#include "container/hf_bnb_reader.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/checked.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/hf_codes.h"
#include "grid/grouped.h"

namespace halftone {
namespace {

constexpr std::string_view kState = ".quant_state.bitsandbytes__";

struct KindRow {
  std::string_view name;
  GroupedLevels levels;
};
constexpr KindRow kKinds[] = {{"nf4", GroupedLevels::kNf4}, {"fp4", GroupedLevels::kFp4}};

struct TypeRow {
  std::string_view name;
  Real real;
};
constexpr TypeRow kTypes[] = {
    {"float32", Real::kF32}, {"float16", Real::kF16}, {"bfloat16", Real::kBf16}};

// What a quant_state says.
struct State {
  GroupedLevels levels;
  int64_t blocksize;
  Real value;
  std::vector<int64_t> shape;
  int64_t count;  // of weights
  bool nested = false;
  int64_t nested_blocksize = 0;
  float nested_offset = 0;
};

// The fields of a quant_state's JSON, each checked; errors name its tensor.
class StateFields {
 public:
  StateFields(const HfParts& parts, const SafetensorsTensor& tensor)
      : parts_(parts), tensor_(tensor) {
    const auto* text = reinterpret_cast<const char*>(tensor.data.data());
    json_ = ParseJson({text, tensor.data.size()},
                      parts.path() + ": tensor '" + Printable(tensor.name) + "'");
    if (!json_.is_object()) parts.FailFormat(tensor.name, "must hold a JSON object");
  }

  const Json* Find(const char* key) {
    const auto it = json_.find(key);
    if (it == json_.end()) return nullptr;
    ++read_;
    return &*it;
  }
  const Json& Need(const char* key) {
    if (const Json* value = Find(key)) return *value;
    parts_.FailFormat(tensor_.name, "has no '{}'", key);
  }
  std::string Text(const char* key) {
    const Json& value = Need(key);
    if (!value.is_string()) parts_.FailFormat(tensor_.name, "'{}' must be a string", key);
    return value.get<std::string>();
  }
  // A power of two that bitsandbytes has a kernel for.
  int64_t Blocksize(const char* key) {
    const Json& value = Need(key);
    const int64_t size = value.is_number_integer() ? value.get<int64_t>() : 0;
    if (size < 32 || size > 4096 || (size & (size - 1)) != 0) {
      parts_.FailUnsupported(tensor_.name, "'{}' is {}, must be a power of two from 32 to 4096",
                             key, Printable(value.dump()));
    }
    return size;
  }
  Real Type(const char* key) {
    const std::string name = Text(key);
    const auto row = std::ranges::find(kTypes, name, &TypeRow::name);
    if (row == std::end(kTypes)) {
      parts_.FailUnsupported(tensor_.name, "'{}' is '{}', must be float32, float16 or bfloat16",
                             key, Printable(name));
    }
    return row->real;
  }
  // bitsandbytes refuses keys that it does not know: they would change what the codes mean.
  void RefuseOthers() const {
    if (read_ != json_.size()) parts_.FailUnsupported(tensor_.name, "has keys that are not known");
  }

 private:
  const HfParts& parts_;
  const SafetensorsTensor& tensor_;
  Json json_;
  size_t read_ = 0;
};

void ReadShape(const HfParts& parts, const SafetensorsTensor& tensor, const Json& json,
               State& state) {
  std::optional<uint64_t> count = 1;
  if (json.is_array()) {
    for (const Json& extent : json) {
      const bool valid = extent.is_number_unsigned() && extent.get<uint64_t>() <= INT64_MAX;
      if (!valid) parts.FailFormat(tensor.name, "'shape' must be a list of extents");
      state.shape.push_back(extent.get<int64_t>());
      count = count ? CheckedMul(*count, extent.get<uint64_t>()) : count;
    }
  }
  if (state.shape.empty()) parts.FailFormat(tensor.name, "'shape' must be a list of extents");
  if (!count || *count > INT64_MAX) parts.FailFormat(tensor.name, "'shape' is too large");
  state.count = static_cast<int64_t>(*count);
}

State ReadState(const HfParts& parts, const SafetensorsTensor& tensor) {
  const std::string kind = tensor.name.substr(tensor.name.find(kState) + kState.size());
  const auto row = std::ranges::find(kKinds, kind, &KindRow::name);
  if (row == std::end(kKinds)) {
    parts.FailUnsupported(tensor.name, "4-bit weights are nf4 or fp4, not '{}'", Printable(kind));
  }
  StateFields fields(parts, tensor);
  if (fields.Text("quant_type") != kind) {
    parts.FailFormat(tensor.name, "'quant_type' must be '{}'", kind);
  }
  State state{.levels = row->levels,
              .blocksize = fields.Blocksize("blocksize"),
              .value = fields.Type("dtype"),
              .shape = {},
              .count = 0};
  ReadShape(parts, tensor, fields.Need("shape"), state);
  if (const Json* offset = fields.Find("nested_offset")) {
    state.nested = true;
    state.nested_blocksize = fields.Blocksize("nested_blocksize");
    if (fields.Type("nested_dtype") != Real::kF32) {
      parts.FailUnsupported(tensor.name, "'nested_dtype' must be float32");
    }
    if (!offset->is_number()) parts.FailFormat(tensor.name, "'nested_offset' must be a number");
    state.nested_offset = offset->get<float>();
  }
  fields.RefuseOthers();
  return state;
}

int64_t Blocks(int64_t count, int64_t blocksize) {
  return count / blocksize + static_cast<int64_t>(count % blocksize != 0);
}

// A weight of 4 bits in the file: codes over the flat matrix, a scale for each blocksize of them.
struct FourBits {
  int64_t cols;
  int64_t blocksize;
  std::span<const uint8_t> packed;
  std::span<const uint8_t> absmax;  // f32, or codes of 8 bits where nested
  std::span<const uint8_t> map;     // f32[16]
  bool nested = false;
  std::span<const uint8_t> nested_absmax;  // f32
  std::span<const uint8_t> nested_map;     // f32[256]
  int64_t nested_blocksize = 0;
  float nested_offset = 0;
  std::vector<std::shared_ptr<const void>> owners;  // of all these

  float Scale(int64_t block) const {
    if (!nested) return LoadLe<float>(absmax.data() + 4 * block);
    const float level = LoadLe<float>(nested_map.data() + 4 * absmax[block]);
    return level * LoadLe<float>(nested_absmax.data() + 4 * (block / nested_blocksize)) +
           nested_offset;
  }
};

// Rows of blocks; none crosses a row.
class BlockRows : public RowSource {
 public:
  BlockRows(FourBits file, const Grid& grid) : file_(file), grid_(grid) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t group = grid_.block;
    for (int64_t at = begin * file_.cols; at < end * file_.cols; at += group) {
      StoreLe(blocks, file_.Scale(at / file_.blocksize));
      NibblesToBlock(file_.packed.data() + at / 2, FirstNibble::kHigh, grid_.block, blocks + 4);
      blocks += grid_.bytes;
    }
  }

 private:
  FourBits file_;
  const Grid& grid_;
};

// Rows of plain numbers, where blocks cross rows.
class PlainRows : public RowSource {
 public:
  PlainRows(FourBits file, Real value) : file_(file), value_(value) {}

  void Read(int64_t begin, int64_t end, uint8_t* numbers) const override {
    for (int64_t at = begin * file_.cols; at < end * file_.cols; ++at) {
      const uint8_t two = file_.packed[at / 2];
      const float level = LoadLe<float>(file_.map.data() + 4 * (at % 2 == 0 ? two >> 4 : two & 15));
      StoreNumber(value_, level * file_.Scale(at / file_.blocksize), numbers);
      numbers += ScaleBytes(value_);
    }
  }

 private:
  FourBits file_;
  Real value_;
};

// Whether the file's levels are the family's, bit for bit.
bool SameLevels(const FourBits& file, const Grid& grid) {
  const auto levels = LevelsOfCodes(grid);
  return std::memcmp(file.map.data(), levels.data(), levels.size_bytes()) == 0;
}

// The parts of the weight `name`, whose codes lie in `packed`.
FourBits FindParts(HfParts& parts, const std::string& name, const State& state,
                   const SafetensorsTensor& packed) {
  const int64_t scales = Blocks(state.count, state.blocksize);
  FourBits file{.cols = state.shape.back(), .blocksize = state.blocksize, .packed = packed.data};
  file.owners.push_back(packed.owner);
  const auto need = [&](const char* suffix, const char* dtype, int64_t count) {
    const SafetensorsTensor& part = parts.Need(name + suffix);
    parts.Expect(part, {dtype}, {count});
    file.owners.push_back(part.owner);
    return part.data;
  };
  file.absmax = need(".absmax", state.nested ? "U8" : "F32", scales);
  file.map = need(".quant_map", "F32", 16);
  if (state.nested) {
    file.nested = true;
    file.nested_absmax = need(".nested_absmax", "F32", Blocks(scales, state.nested_blocksize));
    file.nested_map = need(".nested_quant_map", "F32", 256);
    file.nested_blocksize = state.nested_blocksize;
    file.nested_offset = state.nested_offset;
  }
  return file;
}

void ReadFourBits(HfParts& parts, const SafetensorsTensor& state_tensor) {
  const std::string name = state_tensor.name.substr(0, state_tensor.name.find(kState));
  parts.Take(state_tensor.name);
  const State state = ReadState(parts, state_tensor);
  const SafetensorsTensor& packed = parts.Need(name);
  // The bytes count, not the dtype: it may be any that somebody shards more easily.
  if (packed.data.size() != static_cast<uint64_t>(Blocks(state.count, 2))) {
    parts.FailFormat(name, "holds {} bytes, but {} weights of 4 bits need {}", packed.data.size(),
                     state.count, Blocks(state.count, 2));
  }
  const FourBits file = FindParts(parts, name, state, packed);

  Tensor tensor;
  tensor.name = name;
  tensor.shape = state.shape;
  tensor.grid = &PlainGrid(state.value);
  if (const int group = BlockWithin(file.blocksize, file.cols)) {
    const Grid& grid = GroupedGrid({.levels = state.levels,
                                    .group = group,
                                    .scale = Real::kF32,
                                    .value = state.value,
                                    .nested = state.nested},
                                   file.cols);
    if (SameLevels(file, grid)) {
      tensor.grid = &grid;
      tensor.source = std::make_shared<BlockRows>(file, grid);
    }
  }
  if (!tensor.source) tensor.source = std::make_shared<PlainRows>(file, state.value);
  parts.Put(packed, std::move(tensor));
}

// Rows of bytes, each with its largest magnitude.
class ByteRows : public RowSource {
 public:
  ByteRows(const SafetensorsTensor& weight, const SafetensorsTensor& scales, const Grid& grid)
      : weights_(weight.data),
        scales_(scales.data),
        owners_{weight.owner, scales.owner},
        grid_(grid) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    for (int64_t r = begin; r < end; ++r, blocks += grid_.bytes) {
      StoreLe(blocks, LoadLe<float>(scales_.data() + 4 * r));
      FlipSigns(weights_.data() + r * grid_.block, grid_.block, blocks + 4);
    }
  }

 private:
  std::span<const uint8_t> weights_, scales_;
  std::vector<std::shared_ptr<const void>> owners_;
  const Grid& grid_;
};

void ReadEightBits(HfParts& parts, const SafetensorsTensor& scales) {
  const std::string module = scales.name.substr(0, scales.name.size() - 4);
  parts.Take(scales.name);
  const SafetensorsTensor& weight = parts.Need(module + ".weight");
  if (weight.dtype->name != "I8" || weight.shape.size() != 2) {
    parts.FailFormat(weight.name, "is {} {}, must be a matrix of I8", weight.dtype->name,
                     ShapeText(weight.shape));
  }
  parts.Expect(scales, {"F32"}, {weight.shape[0]});
  // Other orders were the tiles of older GPUs. Absent in older files, which have rows.
  if (const SafetensorsTensor* order = parts.Take(module + ".weight_format")) {
    parts.Expect(*order, {"U8"}, {});
    if (order->data[0] != 0) {
      parts.FailUnsupported(order->name, "is {}; only rows in their order (0) can be read",
                            order->data[0]);
    }
  }
  if (weight.shape[1] < 1 || weight.shape[1] > int64_t{1} << 24) {
    parts.FailUnsupported(weight.name, "rows of {} weights are not supported", weight.shape[1]);
  }
  Tensor tensor;
  tensor.name = weight.name;
  tensor.shape = weight.shape;
  tensor.grid = &GroupedGrid(
      {.bits = 8, .group = 0, .scale = Real::kF32, .value = Real::kF32, .after = 1.0f / 127},
      weight.shape[1]);
  tensor.source = std::make_shared<ByteRows>(weight, scales, *tensor.grid);
  parts.Put(weight, std::move(tensor));
}

}  // namespace

void ReadBnbWeights(HfParts& parts) {
  for (const SafetensorsTensor& tensor : parts.tensors()) {
    if (tensor.name.find(kState) != std::string::npos) ReadFourBits(parts, tensor);
    if (tensor.name.ends_with(".SCB")) ReadEightBits(parts, tensor);
    // Without scales bytes are not plain weights.
    if (tensor.dtype->name == "I8" && tensor.name.ends_with(".weight")) {
      parts.Need(tensor.name.substr(0, tensor.name.size() - 6) + "SCB");
    }
  }
}

}  // namespace halftone
