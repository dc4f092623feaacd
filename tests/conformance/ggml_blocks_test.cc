// The 80 tensors of shared/fixtures/ggml-blocks-*: files that gguf-py wrote, with blocks that ggml
// quantized and dequantized. Reading them must give ggml's floats, and encoding the source tensor
// ggml's bytes, for every grid that can encode.

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "container/container.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

std::string Sha256(const void* data, size_t size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_Digest(data, size, digest, &length, EVP_sha256(), nullptr) != 1) return "no SHA-256";
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

struct Source {
  std::vector<float> x;  // [rows, cols]
  int64_t rows, cols;
  std::vector<float> importance;  // [cols]
};

Source ReadSource() {
  const Checkpoint source =
      OpenCheckpoint(SharedPath("fixtures/ggml-blocks-source/source.safetensors"));
  const Tensor& x = source.Get("x");
  return {Decode(x), x.rows(), x.cols(), Decode(source.Get("imatrix"))};
}

// Encodes the source and compares with the hash of ggml's bytes.
void ExpectEncoding(const Source& source, const Grid& grid, bool weighted,
                    const std::string& hash) {
  std::vector<uint8_t> blocks(source.rows * grid.RowBytes(source.cols));
  for (int64_t r = 0; r < source.rows; ++r) {
    grid.Encode(source.x.data() + r * source.cols, source.cols,
                weighted ? source.importance.data() : nullptr,
                blocks.data() + r * grid.RowBytes(source.cols));
  }
  EXPECT_EQ(Sha256(blocks.data(), blocks.size()), hash);
}

class GgmlBlocksTest : public testing::TestWithParam<std::string> {};

TEST_P(GgmlBlocksTest, DecodesAndEncodesAsGgml) {
  const std::string folder = "fixtures/ggml-blocks-" + GetParam();
  HALFTONE_NEED_SHARED(folder + "/expected.json");
  const Source source = ReadSource();
  std::ifstream file(SharedPath(folder + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  int decoded = 0, encoded = 0;
  for (const auto& [key, facts] : expected.items()) {
    SCOPED_TRACE(key);
    const size_t dot = key.find('.');  // "Q4_0.plain" is tensor `plain` of Q4_0.gguf
    const Checkpoint checkpoint =
        OpenCheckpoint(SharedPath(folder) / (key.substr(0, dot) + ".gguf"));
    const Tensor& tensor = checkpoint.Get(key.substr(dot + 1));
    EXPECT_EQ(tensor.grid->gguf_type, facts["type_id"].get<int>());
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{facts["rows"], facts["cols"]}));
    const std::vector<float> values = Decode(tensor);
    EXPECT_EQ(Sha256(tensor.data.data(), tensor.data.size()), facts["sha256_q"]);
    EXPECT_EQ(Sha256(values.data(), values.size() * sizeof(float)), facts["sha256_f32"]);
    ++decoded;
    if (!tensor.grid->writable()) continue;
    ExpectEncoding(source, *tensor.grid, tensor.name == "imatrix", facts["sha256_q"]);
    ++encoded;
  }
  RecordProperty("decoded", decoded);
  RecordProperty("encoded", encoded);
  EXPECT_GT(decoded, 0);
}

INSTANTIATE_TEST_SUITE_P(All, GgmlBlocksTest,
                         testing::Values("legacy32", "kquants", "iquants", "small-float-ternary"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halftone
