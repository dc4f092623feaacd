// Token ids as golden files keep them: numbers with spaces between them, which a long line of JSON
// holds better than one number each.

#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace halftone {

inline std::vector<int32_t> Ids(const std::string& text) {
  std::istringstream numbers(text);
  std::vector<int32_t> ids;
  for (int32_t id; numbers >> id;) ids.push_back(id);
  return ids;
}

}  // namespace halftone
