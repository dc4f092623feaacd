// The files of src/pipeline/assets, compiled in.

#pragma once

#include <string_view>

namespace halftone {

// The text of that file of assets/ or data/; empty if there is none.
std::string_view Asset(std::string_view name);

}  // namespace halftone
