// Which experts the tokens of a pass use, and where their rows lie.
//
// Rows are (token, expert) pairs in the order of the experts, those of one expert in the order of
// the tokens: an expert's matrices multiply rows that lie one behind the other.

#pragma once

#include <cstdint>
#include <vector>

namespace halftone {

struct Routing {
  int64_t used = 0;              // experts of each token
  std::vector<int32_t> experts;  // [tokens, used], ascending for each token
  std::vector<float> weights;    // [tokens, used]
  std::vector<int32_t> row;      // [tokens, used]: of each pair
  std::vector<int32_t> token;    // of each row
  std::vector<int64_t> begin;    // [all experts + 1]: the rows of expert e end at begin[e + 1]

  // Memory for so many tokens, so that Arrange does not allocate.
  void Reserve(int64_t tokens, int64_t used, int64_t count);
  // For this pass, before experts and weights are filled in.
  void Resize(int64_t tokens);
  // row, token and begin from experts.
  void Arrange();

  int64_t rows() const { return static_cast<int64_t>(token.size()); }
  // The row of that token and expert; -1 where the token does not use it.
  int64_t RowOf(int64_t t, int64_t expert) const;
};

}  // namespace halftone
