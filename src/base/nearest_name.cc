#include "base/nearest_name.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace halftone {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replace = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view NearestName(std::string_view typed, std::span<const std::string_view> names) {
  return *std::ranges::min_element(
      names, {}, [&](std::string_view name) { return EditDistance(typed, name); });
}

}  // namespace halftone
