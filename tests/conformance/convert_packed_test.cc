// Checkpoints of GPTQModel, AutoAWQ and compressed-tensors, converted to GGUF: codes and scales are
// what they were, so that every weight, rounded to the type that its owner rounds products to, is
// the very float of the owner's own dequantization, and the logits are those of the original.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grouped.h"
#include "halftone/evaluate.h"
#include "halftone/quantize.h"
#include "model/dialect.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/sha256.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

struct Folder {
  const char* name;
  const char* grid;       // of the linear layers in the GGUF file
  const char* container;  // that it came in
  Real value;             // what its owner rounds products to
};

// The rows of a GGUF tensor in the order of the folder's.
std::vector<float> InFolderOrder(const Tensor& tensor, int64_t heads) {
  const std::vector<float> values = Decode(tensor);
  if (heads == 0) return values;
  std::vector<float> ordered(values.size());
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    std::copy_n(values.begin() + r * tensor.cols(), tensor.cols(),
                ordered.begin() + SourceRow(r, tensor.rows(), heads) * tensor.cols());
  }
  return ordered;
}

class ConvertPackedTest : public testing::TestWithParam<Folder> {
 protected:
  std::string folder() const { return std::string("fixtures/") + GetParam().name; }
  std::string Out(const std::string& name) const { return (temp_.path() / name).string(); }

  const TempFolder temp_;
};

TEST_P(ConvertPackedTest, KeepsCodesAndScales) {
  HALFTONE_NEED_SHARED(folder());
  const ConvertReport report = Convert(SharedPath(folder()).string(), Out("model.gguf"), {});
  EXPECT_EQ(report.exact, 7);
  EXPECT_EQ(report.reexpressed, 14);
  EXPECT_EQ(report.rounded, 0);
  EXPECT_LT(report.relative_change, 2e-3);

  const Checkpoint source = OpenCheckpoint(SharedPath(folder()));
  const Architecture& architecture = ArchitectureOf(source);
  const Hyperparameters parameters = ReadHyperparameters(source, architecture);
  const Checkpoint made = OpenCheckpoint(Out("model.gguf"));
  std::ifstream file(SharedPath(folder() + "/expected.json"));
  const auto expected = nlohmann::json::parse(file)["tensors"];
  EXPECT_EQ(expected.size(), 14u);
  for (const auto& [name, facts] : expected.items()) {
    const auto place = PlaceOf(architecture, Dialect::kHuggingFace, name);
    ASSERT_TRUE(place) << name;
    const Tensor& tensor = made.Get(NameInDialect(Dialect::kGguf, *place));
    EXPECT_EQ(tensor.grid->name, GetParam().grid) << name;
    std::vector<float> values = InFolderOrder(tensor, HeadsOf(place->role->order, parameters));
    for (float& value : values) value = RoundToReal(GetParam().value, value);
    EXPECT_EQ(Sha256(values.data(), values.size() * sizeof(float)), facts["sha256_f32"]) << name;
  }
}

TEST_P(ConvertPackedTest, ComputesWhatTheOriginalDoes) {
  HALFTONE_NEED_SHARED(folder());
  Convert(SharedPath(folder()).string(), Out("model.gguf"), {});
  const Checkpoint file = OpenCheckpoint(SharedPath(folder() + "/expected.safetensors"));
  std::vector<int32_t> ids;
  for (const float id : Decode(file.Get("input_ids"))) ids.push_back(static_cast<int32_t>(id));
  const std::vector<float> expected = Decode(file.Get("logits"));
  int64_t vocabulary = 0;
  const std::vector<float> logits = EvaluateLogits(Out("model.gguf"), ids, 2, &vocabulary);
  ASSERT_EQ(logits.size(), expected.size());
  const auto [low, high] = std::ranges::minmax(expected);
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(logits[i]) - expected[i]));
  }
  // bf16 has eight times coarser products to leave out.
  EXPECT_LT(largest / (high - low), GetParam().value == Real::kBf16 ? 4e-3 : 1e-3);
}

// There and back: the grids that it came on, and every value to the bit.
TEST_P(ConvertPackedTest, ComesBack) {
  HALFTONE_NEED_SHARED(folder());
  Convert(SharedPath(folder()).string(), Out("model.gguf"), {});
  ConvertOptions options;
  options.container = GetParam().container;
  const ConvertReport report = Convert(Out("model.gguf"), Out("back"), options);
  EXPECT_EQ(report.reexpressed, 14);
  EXPECT_EQ(report.rounded, 0);
  const Checkpoint source = OpenCheckpoint(SharedPath(folder()));
  const Checkpoint again = OpenCheckpoint(Out("back"));
  EXPECT_EQ(again.container, GetParam().container);
  EXPECT_EQ(again.tensors.size(), source.tensors.size());
  for (const Tensor& t : source.tensors) {
    const Tensor& twin = again.Get(t.name);
    EXPECT_EQ(twin.grid->name, t.grid->name) << t.name;
    const Tensor a = Loaded(t), b = Loaded(twin);
    EXPECT_TRUE(Decode(a) == Decode(b)) << t.name;
    // Zeros may be others where no code of a group is at an end.
    if (t.grid->grouped == nullptr || t.grid->grouped->symmetric) {
      EXPECT_TRUE(std::ranges::equal(a.data, b.data)) << t.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, ConvertPackedTest,
    testing::Values(Folder{"tiny-gptq-4bit-g128", "q4_0", "gptq", Real::kF16},
                    Folder{"tiny-gptq-8bit-g128", "q8_0", "gptq", Real::kF16},
                    Folder{"tiny-gptq-3bit-g64", "q4_0", "gptq", Real::kF16},
                    Folder{"small-gptq-2bit-g64", "q4_0", "gptq", Real::kF16},
                    Folder{"small-gptq-4bit-g32-asym-v1", "q5_0", "gptq", Real::kF16},
                    Folder{"small-gptq-4bit-g64-asym-v2", "q5_0", "gptq", Real::kF16},
                    Folder{"tiny-awq-gemm-4bit-g128", "q5_0", "awq", Real::kF16},
                    Folder{"tiny-ct-pack-quantized", "q4_0", "compressed-tensors", Real::kBf16},
                    Folder{"small-ct-pack-quantized-asym", "q5_0", "compressed-tensors",
                           Real::kBf16},
                    Folder{"small-ct-int8-w8a8", "q8_0", "compressed-tensors", Real::kBf16}),
    [](const auto& info) {
      std::string name = info.param.name;
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST(ConvertTest, NamesTheTensorThatHasNoSuchForm) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gptq-4bit-g128-actorder");
  const TempFolder temp;
  const std::string input = SharedPath("fixtures/tiny-gptq-4bit-g128-actorder").string();
  const std::string output = (temp.path() / "model.gguf").string();
  ExpectError(Error::Kind::kUsage, "order of columns of tensor 'blk.0.attn_k.weight'",
              [&] { Convert(input, output, {}); });
  ConvertOptions options;
  options.requantize = true;
  const ConvertReport report = Convert(input, output, options);
  EXPECT_EQ(report.rounded, 14);
  EXPECT_GT(report.relative_change, 1e-3);
  for (const QuantizedTensor& t : report.tensors) {
    EXPECT_EQ(t.relative_error > 0, t.note == "rounded anew") << t.name;
  }
}

// The change of the whole model is that of its tensors, weighed by their squares.
TEST(ConvertTest, SumsUpTheChange) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bnb-nf4");
  const TempFolder temp;
  const std::string input = SharedPath("fixtures/tiny-bnb-nf4").string();
  const std::string output = (temp.path() / "model.gguf").string();
  ExpectError(Error::Kind::kUsage, "--requantize", [&] { Convert(input, output, {}); });
  ConvertOptions options;
  options.requantize = true;
  const ConvertReport report = Convert(input, output, options);
  EXPECT_EQ(report.rounded, 14);
  const Checkpoint before = OpenCheckpoint(input), after = OpenCheckpoint(output);
  double change = 0, square = 0;
  for (const Tensor& t : after.tensors) {
    const auto place = PlaceOf(ArchitectureOf(before), Dialect::kGguf, t.name);
    const Tensor& twin = before.Get(NameInDialect(Dialect::kHuggingFace, *place));
    const int64_t heads =
        HeadsOf(place->role->order, ReadHyperparameters(before, ArchitectureOf(before)));
    const std::vector<float> a = Decode(Loaded(twin)), b = InFolderOrder(t, heads);
    for (size_t i = 0; i < a.size(); ++i) {
      change += std::pow(static_cast<double>(a[i]) - b[i], 2);
      square += std::pow(static_cast<double>(a[i]), 2);
    }
  }
  EXPECT_NEAR(report.relative_change, std::sqrt(change / square), 1e-9);
}

}  // namespace
}  // namespace halftone
