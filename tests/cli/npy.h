// Reading numpy's .npy files as numpy's format specification (NEP 1) lays them out.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <regex>
#include <string>
#include <vector>

namespace halftone {

struct Npy {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// A version 1.0 file of little-endian f32 in C order; a test failure if it is none.
inline Npy ParseNpy(const std::string& bytes) {
  Npy npy;
  if (bytes.size() < 10 || bytes.substr(0, 8) != std::string("\x93NUMPY\x01\x00", 8)) {
    ADD_FAILURE() << "no .npy file of version 1.0";
    return npy;
  }
  uint16_t length = 0;
  std::memcpy(&length, bytes.data() + 8, 2);
  const std::string header = bytes.substr(10, length);
  EXPECT_EQ((10 + header.size()) % 64, 0u);
  EXPECT_TRUE(header.ends_with('\n'));
  // A Python literal: a dictionary with these keys, a shape of one dimension as "(3,)".
  static const std::regex literal(
      R"(\{'descr': '<f4', 'fortran_order': False, 'shape': \(((?:[0-9]+,? ?)*)\),? ?\} *\n)");
  std::smatch match;
  if (!std::regex_match(header, match, literal)) {
    ADD_FAILURE() << "unexpected header: " << header;
    return npy;
  }
  static const std::regex number("[0-9]+");
  const std::string shape = match[1];
  size_t count = 1;
  for (auto it = std::sregex_iterator(shape.begin(), shape.end(), number);
       it != std::sregex_iterator(); ++it) {
    npy.shape.push_back(std::stoll(it->str()));
    count *= static_cast<size_t>(npy.shape.back());
  }
  EXPECT_FALSE(npy.shape.size() == 1 && shape.find(',') == std::string::npos) << header;
  const std::string data = bytes.substr(10 + length);
  EXPECT_EQ(data.size(), 4 * count);
  npy.values.resize(data.size() / 4);
  std::memcpy(npy.values.data(), data.data(), npy.values.size() * 4);
  return npy;
}

}  // namespace halftone
