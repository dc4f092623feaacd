#include "model/routing.h"

#include <algorithm>

namespace halftone {

void Routing::Reserve(int64_t tokens, int64_t experts_used, int64_t count) {
  used = experts_used;
  const auto pairs = static_cast<size_t>(tokens * used);
  experts.reserve(pairs);
  weights.reserve(pairs);
  row.reserve(pairs);
  token.reserve(pairs);
  begin.assign(static_cast<size_t>(count + 1), 0);
}

void Routing::Resize(int64_t tokens) {
  const auto pairs = static_cast<size_t>(tokens * used);
  experts.resize(pairs);
  weights.resize(pairs);
  row.resize(pairs);
  token.resize(pairs);
}

void Routing::Arrange() {
  // Counted, then each expert's next free row; afterwards begin[e] is where e + 1 began.
  std::fill(begin.begin(), begin.end(), 0);
  for (const int32_t e : experts) ++begin[static_cast<size_t>(e) + 1];
  for (size_t e = 1; e < begin.size(); ++e) begin[e] += begin[e - 1];
  for (size_t pair = 0; pair < experts.size(); ++pair) {
    const int64_t at = begin[static_cast<size_t>(experts[pair])]++;
    row[pair] = static_cast<int32_t>(at);
    token[static_cast<size_t>(at)] = static_cast<int32_t>(static_cast<int64_t>(pair) / used);
  }
  for (size_t e = begin.size() - 1; e > 0; --e) begin[e] = begin[e - 1];
  begin[0] = 0;
}

int64_t Routing::RowOf(int64_t t, int64_t expert) const {
  for (int64_t j = t * used; j < (t + 1) * used; ++j) {
    if (experts[static_cast<size_t>(j)] == expert) return row[static_cast<size_t>(j)];
  }
  return -1;
}

}  // namespace halftone
