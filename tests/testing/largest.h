// How far two lists of numbers are apart.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace halftone {

// The largest difference; infinity for lists of different lengths.
inline double Largest(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return largest;
}

}  // namespace halftone
