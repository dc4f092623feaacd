// The two formats of adapters, read, and what both are checked for; adapter_files.h puts them to
// use.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/adapter_files.h"

namespace halftone {

// Throws Error as ReadAdapterModules.
std::vector<AdapterModule> ReadPeftModules(const std::string& folder,
                                           const Architecture& architecture,
                                           const Hyperparameters& parameters);
std::vector<AdapterModule> ReadGgufModules(const std::string& path,
                                           const Architecture& architecture,
                                           const Hyperparameters& parameters);

// A's and B's of a file, as they come.
struct AdapterHalves {
  Tensor a, b;  // without a grid where the file has none
};

// The module of the tensor of that name, its halves [rank, cols] and [rows, rank] of plain or
// quantized numbers. Throws Error (kFormat) naming path and tensor, also where the architecture has
// no such linear layer.
AdapterModule ModuleFrom(const std::string& path, const Architecture& architecture, Dialect dialect,
                         const std::string& name, const AdapterHalves& halves);
// The same where the place is known; `name` is what messages call it.
AdapterModule ModuleFrom(const std::string& path, const std::string& name, const RolePlace& place,
                         const AdapterHalves& halves);

// The values as a file holds them on that plain grid.
std::vector<uint8_t> BytesOn(const Grid& type, const std::vector<float>& values);

// For a module that the model has no layer of its shape for: there it is `found`, or nothing.
[[noreturn]] void FailOtherModel(const std::string& path, const AdapterModule& module,
                                 const std::string& model,
                                 const std::optional<std::vector<int64_t>>& found);

}  // namespace halftone
