// Model folders laid out by hand: tensors by name in one .safetensors file, and a config.json.

#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing/byte_builder.h"
#include "tests/testing/temp_folder.h"

namespace halftone {

struct HandTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string data;
};

// The bytes of numbers.
template <class T>
std::string BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

struct HandFolder {
  std::map<std::string, HandTensor> tensors;
  std::string config = "{}";

  std::string Safetensors() const {
    std::string header, data;
    for (const auto& [name, tensor] : tensors) {
      std::string shape;
      for (const int64_t extent : tensor.shape) {
        shape += (shape.empty() ? "" : ",") + std::to_string(extent);
      }
      header += (header.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + tensor.dtype +
                "\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(data.size()) +
                "," + std::to_string(data.size() + tensor.data.size()) + "]}";
      data += tensor.data;
    }
    return SafetensorsBytes(header.empty() ? "{}" : header + "}", data);
  }
  void WriteTo(const TempFolder& folder) const {
    folder.Write("model.safetensors", Safetensors());
    folder.Write("config.json", config);
  }
};

}  // namespace halftone
