#include "container/hf_compressed_tensors_config.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace halftone {
namespace {

// Formats whose tensors say what they are. "mixed-precision": each group names its own.
constexpr std::string_view kFormats[] = {
    "dense",          "naive-quantized",      "int-quantized",        "float-quantized",
    "pack-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized",
    "mixed-precision"};

// One JSON object of the configuration, with errors that say where it stands.
class Fields {
 public:
  Fields(std::string where, const Json& json) : where_(std::move(where)), json_(json) {
    if (!json.is_object()) FailFormat("{} must be an object", where_);
  }

  // Null where there is none, or null.
  const Json* Find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  std::string Text(const char* key, std::string_view otherwise) const {
    const Json* value = Find(key);
    if (value == nullptr) return std::string(otherwise);
    if (!value->is_string()) FailFormat("{}: '{}' must be a string", where_, key);
    return value->get<std::string>();
  }
  bool Flag(const char* key, bool otherwise) const {
    const Json* value = Find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) FailFormat("{}: '{}' must be true or false", where_, key);
    return value->get<bool>();
  }
  int64_t Integer(const char* key, int64_t otherwise, int64_t low, int64_t high) const {
    const Json* value = Find(key);
    return value == nullptr ? otherwise : Integer(key, *value, low, high);
  }
  int64_t Integer(const char* key, const Json& value, int64_t low, int64_t high) const {
    const bool fits =
        value.is_number_integer() &&
        (!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(high)) &&
        value.get<int64_t>() >= low && value.get<int64_t>() <= high;
    if (!fits) {
      FailFormat("{}: '{}' is {}, must be an integer from {} to {}", where_, key,
                 Printable(value.dump()), low, high);
    }
    return value.get<int64_t>();
  }
  Fields Object(const char* key) const { return Fields(where_ + "." + key, json_.at(key)); }
  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  const Json& json_;
};

constexpr int64_t kMost = int64_t{1} << 40;

void CheckFormat(const Fields& fields) {
  const std::string format = fields.Text("format", "dense");
  if (std::ranges::find(kFormats, format) == std::end(kFormats)) {
    FailUnsupported("{}: format '{}' cannot be read", fields.where(), Printable(format));
  }
}

// [128, 128], or "128x128" in older files.
void ReadBlock(const Fields& fields, CtScheme& scheme) {
  const Json* value = fields.Find("block_structure");
  if (value != nullptr && value->is_array() && value->size() == 2) {
    scheme.block_rows = fields.Integer("block_structure", (*value)[0], 1, kMost);
    scheme.block_cols = fields.Integer("block_structure", (*value)[1], 1, kMost);
    return;
  }
  if (value != nullptr && value->is_string()) {
    const auto text = value->get<std::string>();
    const char* end = text.data() + text.size();
    const auto rows = std::from_chars(text.data(), end, scheme.block_rows);
    if (rows.ec == std::errc() && rows.ptr != end && *rows.ptr == 'x') {
      const auto cols = std::from_chars(rows.ptr + 1, end, scheme.block_cols);
      if (cols.ec == std::errc() && cols.ptr == end && scheme.block_rows > 0 &&
          scheme.block_cols > 0) {
        return;
      }
    }
  }
  FailFormat("{}: 'block_structure' must be two extents", fields.where());
}

void ReadStrategy(const Fields& fields, CtScheme& scheme) {
  const int64_t group_size = fields.Integer("group_size", 0, -1, kMost);
  const std::string strategy = fields.Text("strategy", group_size > 0     ? "group"
                                                       : group_size == -1 ? "channel"
                                                                          : "tensor");
  if (strategy == "tensor") {
    scheme.strategy = CtStrategy::kTensor;
  } else if (strategy == "channel") {
    scheme.strategy = CtStrategy::kChannel;
  } else if (strategy == "group" || strategy == "tensor_group") {
    scheme.strategy = CtStrategy::kGroup;
    if (group_size <= 0) FailFormat("{}: 'group_size' must be positive", fields.where());
    scheme.group_size = group_size;
  } else if (strategy == "block") {
    scheme.strategy = CtStrategy::kBlock;
    ReadBlock(fields, scheme);
  } else {
    FailUnsupported("{}: strategy '{}' cannot be read", fields.where(), Printable(strategy));
  }
}

CtScheme ReadScheme(const std::string& name, const Fields& weights) {
  CtScheme scheme;
  scheme.name = name;
  const std::string type = weights.Text("type", "int");
  if (type != "int" && type != "float") {
    FailUnsupported("{}: type '{}' cannot be read", weights.where(), Printable(type));
  }
  scheme.floats = type == "float";
  scheme.bits = static_cast<int>(weights.Integer("num_bits", 8, 1, 8));
  scheme.symmetric = weights.Flag("symmetric", true);
  ReadStrategy(weights, scheme);
  if (scheme.floats && (scheme.bits != 4 && scheme.bits != 8)) {
    FailUnsupported("{}: floats of {} bits cannot be read", weights.where(), scheme.bits);
  }
  if (scheme.floats && !scheme.symmetric) {
    FailUnsupported("{}: floats with zero points cannot be read", weights.where());
  }
  return scheme;
}

// Rotations are multiplied in by the modules at run time, pruned weights are stored packed.
void RefuseOthers(const Fields& config) {
  if (config.Find("transform_config") != nullptr) {
    const Fields transform = config.Object("transform_config");
    const Json* groups = transform.Find("config_groups");
    if (groups != nullptr && !groups->empty()) {
      FailUnsupported("{} has rotations, which are not supported", transform.where());
    }
  }
  if (config.Find("sparsity_config") != nullptr) {
    const Fields sparsity = config.Object("sparsity_config");
    const std::string format = sparsity.Text("format", "dense");
    if (format != "dense") {
      FailUnsupported("{}: format '{}' cannot be read", sparsity.where(), Printable(format));
    }
  }
}

}  // namespace

std::vector<CtScheme> ReadCtSchemes(const HfParts& parts) {
  const Json json = parts.config();
  const Fields config(parts.path() + ": config.json: quantization_config", json);
  RefuseOthers(config);
  CheckFormat(config);
  if (config.Find("config_groups") == nullptr) {
    FailFormat("{} has no 'config_groups'", config.where());
  }
  std::vector<CtScheme> schemes;
  const Fields groups = config.Object("config_groups");
  for (const auto& [name, value] : groups.json().items()) {
    const Fields group(groups.where() + "." + Printable(name), value);
    CheckFormat(group);
    if (group.Find("weights") != nullptr) {
      schemes.push_back(ReadScheme(name, group.Object("weights")));
    }
  }
  return schemes;
}

}  // namespace halftone
