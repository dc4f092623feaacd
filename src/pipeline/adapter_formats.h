// The two formats of adapters, read; adapter_files.h puts them to use.

#pragma once

#include <string>
#include <vector>

#include "pipeline/adapter_files.h"

namespace halftone {

// Throws Error as ReadAdapterModules.
std::vector<AdapterModule> ReadPeftModules(const std::string& folder,
                                           const Architecture& architecture);
std::vector<AdapterModule> ReadGgufModules(const std::string& path,
                                           const Architecture& architecture,
                                           const Hyperparameters& parameters);

// A's and B's of a file, as they come.
struct AdapterHalves {
  Tensor a, b;  // without a grid where the file has none
};

// [rank, cols] and [rows, rank] of plain or quantized numbers; `name` is the module's. Throws Error
// (kFormat) naming path and module.
AdapterModule ModuleFrom(const std::string& path, const std::string& name, const RolePlace& place,
                         const AdapterHalves& halves);

}  // namespace halftone
