// Rounding while loading: the weights are bitsandbytes' own (fixtures that it wrote), and running
// them is running the folder that is written for it.

#include "pipeline/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grouped.h"
#include "halftone/evaluate.h"
#include "halftone/model.h"
#include "halftone/quantize.h"
#include "model/dialect.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/impatient.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

struct Way {
  const char* grid;     // of a written folder
  const char* fixture;  // written by transformers and bitsandbytes
  const char* base;     // from this
  Precision precision;
};

std::vector<Way> Ways() {
  return {
      {"nf4:g64", "tiny-bnb-nf4", "tiny-bf16", {.load_in = LoadIn::k4Bit}},
      {"fp4:g64", "tiny-bnb-fp4", "small-bf16", {.load_in = LoadIn::k4Bit, .quant_type = "fp4"}},
      {"nf4:g64:dq",
       "tiny-bnb-nf4-dq",
       "tiny-bf16",
       {.load_in = LoadIn::k4Bit, .double_quant = true}},
      {"int8:row:absmax", "tiny-bnb-int8", "tiny-bf16", {.load_in = LoadIn::k8Bit}},
  };
}

// Bit for bit.
void ExpectSameLogits(const std::string& a, const Precision& a_precision, const std::string& b,
                      const Precision& b_precision, const std::string& what) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back(i * 37 % 300);
  int64_t vocabulary;
  const auto left = EvaluateLogits(a, ids, 2, &vocabulary, a_precision);
  const auto right = EvaluateLogits(b, ids, 3, &vocabulary, b_precision);
  ASSERT_EQ(left.size(), right.size());
  EXPECT_EQ(std::memcmp(left.data(), right.data(), left.size() * sizeof(float)), 0) << what;
}

TEST(LoadTest, RunsAsTheWrittenFolderDoes) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  const std::string model = TinyBf16Folder().string();
  for (const Way& way : Ways()) {
    const TempFolder temp;
    const std::string folder = (temp.path() / "folder").string();
    QuantizeOptions options;
    options.grid = way.grid;
    options.container = "bnb";
    Quantize(model, folder, options);
    ExpectSameLogits(model, way.precision, folder, {}, way.grid);
  }
}

TEST(LoadTest, RoundsAsBitsandbytes) {
  for (const Way& way : Ways()) {
    HALFTONE_NEED_SHARED(std::string("fixtures/") + way.base);
    HALFTONE_NEED_SHARED(std::string("fixtures/") + way.fixture);
    const Checkpoint theirs = OpenCheckpoint(SharedPath(std::string("fixtures/") + way.fixture));
    const bool sharded = std::string(way.base) == "tiny-bf16";
    const auto base = sharded ? TinyBf16Folder() : SharedPath(std::string("fixtures/") + way.base);
    const Checkpoint ours = OpenToRun(base.string(), way.precision, 2);
    int rounded = 0;
    for (const Tensor& stored : theirs.tensors) {
      const Tensor their = Loaded(stored), our = Loaded(ours.Get(stored.name));
      ASSERT_EQ(our.grid->plain, their.grid->plain) << stored.name;
      if (our.grid->plain) continue;
      ASSERT_EQ(our.grid, their.grid) << stored.name;
      ++rounded;
      float largest = 0;
      for (size_t at = 0; at < their.data.size(); at += their.grid->bytes) {
        largest = std::max(largest, LoadReal(Real::kF32, their.data.data() + at));
      }
      // The widest step of the levels of scales; without double quantization they are exact.
      const float step = our.grid->grouped->nested ? 0.9f / 64 * largest : 0;
      int64_t scales = 0, other = 0;
      for (size_t at = 0; at < our.data.size(); at += our.grid->bytes, ++scales) {
        const uint8_t *a = our.data.data() + at, *b = their.data.data() + at;
        ASSERT_TRUE(std::equal(a + 4, a + our.grid->bytes, b + 4)) << stored.name << " " << at;
        const float scale = LoadReal(Real::kF32, a), expected = LoadReal(Real::kF32, b);
        ASSERT_NEAR(scale, expected, step) << stored.name;
        other += std::fabs(scale - expected) > 1e-6f * expected;
      }
      // On a CPU bitsandbytes' search for the levels of scales takes the second nearest for a few.
      EXPECT_LE(other, scales / 100) << stored.name;
    }
    EXPECT_EQ(rounded % 7, 0);
    EXPECT_GT(rounded, 0) << way.grid;
  }
}

// Queries and keys have their rows in another order there, which double quantization must not see.
TEST(LoadTest, RoundsGgufFilesAsFolders) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  const std::string model = TinyBf16Folder().string();
  const TempFolder temp;
  const std::string file = (temp.path() / "model.gguf").string();
  Convert(model, file, {});
  for (const Way& way : Ways()) {
    const Checkpoint folder = OpenToRun(model, way.precision, 2);
    const Checkpoint gguf = OpenToRun(file, way.precision, 2);
    const Architecture& architecture = ArchitectureOf(folder);
    const Hyperparameters parameters = ReadHyperparameters(folder, architecture);
    int permuted = 0;
    for (const Tensor& stored : folder.tensors) {
      const auto place = PlaceOf(architecture, Dialect::kHuggingFace, stored.name);
      const Tensor& stored_twin = gguf.Get(NameInDialect(Dialect::kGguf, *place));
      if (stored.grid->plain) {
        EXPECT_TRUE(stored_twin.grid->plain);
        continue;
      }
      const Tensor tensor = Loaded(stored), twin = Loaded(stored_twin);
      const int64_t heads = HeadsOf(place->role->order, parameters);
      permuted += heads > 0;
      for (int64_t r = 0; r < tensor.rows(); ++r) {
        const int64_t from = heads > 0 ? SourceRow(r, tensor.rows(), heads) : r;
        ASSERT_TRUE(std::ranges::equal(twin.row(r), tensor.row(from)))
            << way.grid << " " << stored.name << " " << r;
      }
    }
    EXPECT_GT(permuted, 0);
  }
}

class TinyLoadTest : public TinyModelTest {
 protected:
  // The model's bytes with one value of a tensor replaced.
  std::string WriteWith(const std::string& tensor, float value) const {
    TinyModel model;
    std::string bytes = model.Bytes();
    size_t offset = bytes.size();
    const auto tensors = model.Tensors();
    for (size_t i = tensors.size(); i-- > 0;) {
      offset -= (TinyModel::Count(tensors[i].second) * 4 + 31) / 32 * 32;
      if (tensors[i].first == tensor) std::memcpy(bytes.data() + offset + 4 * 3, &value, 4);
    }
    return Write("other.gguf", bytes);
  }
};

TEST_F(TinyLoadTest, BlocksOfTheLinearLayersOnly) {
  const Checkpoint checkpoint = OpenToRun(model_, {.load_in = LoadIn::k4Bit, .block = 128}, 1);
  for (const Tensor& tensor : checkpoint.tensors) {
    const bool linear = tensor.name.starts_with("blk.") && !tensor.name.ends_with("norm.weight");
    EXPECT_EQ(tensor.grid->name, linear ? "nf4:g128" : "f32") << tensor.name;
  }
  EXPECT_FALSE(checkpoint.int8_threshold);
  EXPECT_EQ(OpenToRun(model_, {.load_in = LoadIn::k8Bit}, 1).int8_threshold, 6);
  LoadOptions options;
  const uint64_t plain = Model::Open(model_, options)->weight_bytes();
  options.precision.load_in = LoadIn::k8Bit;
  EXPECT_LT(Model::Open(model_, options)->weight_bytes(), plain * 7 / 10);
}

TEST_F(TinyLoadTest, ThreadsChangeNothing) {
  for (const Way& way : Ways()) {
    const Checkpoint one = OpenToRun(model_, way.precision, 1);
    const Checkpoint many = OpenToRun(model_, way.precision, 5);
    ThreadPool single(1), pool(5);
    for (const Tensor& tensor : one.tensors) {
      const Tensor a = Loaded(tensor, single), b = Loaded(many.Get(tensor.name), pool);
      EXPECT_TRUE(std::ranges::equal(a.data, b.data)) << tensor.name;
    }
  }
}

TEST_F(TinyLoadTest, TheThresholdMatters) {
  int64_t vocabulary;
  const auto run = [&](std::optional<float> threshold) {
    return EvaluateLogits(model_, {5, 6, 7}, 1, &vocabulary,
                          {.load_in = LoadIn::k8Bit, .int8_threshold = threshold});
  };
  EXPECT_EQ(run({}), run(6.0f));
  EXPECT_NE(run(0.01f), run(0.0f));
  // Everything is out: the products are those of plain f32 with the rounded weights.
  const auto out = run(1e-30f);
  const TempFolder temp;
  const auto plain = EvaluateLogits(model_, {5, 6, 7}, 1, &vocabulary);
  double largest = 0, range = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    largest = std::max<double>(largest, std::fabs(out[i] - plain[i]));
    range = std::max<double>(range, std::fabs(plain[i]));
  }
  EXPECT_LT(largest, 0.02 * range);
}

TEST_F(TinyLoadTest, RefusesWhatCannotBe) {
  const auto refuses = [&](Kind kind, const std::string& part, const Precision& precision) {
    ExpectError(kind, part, [&] { OpenToRun(model_, precision, 1); });
  };
  refuses(Kind::kUsage, "nf4 or fp4, not 'nf5'", {.load_in = LoadIn::k4Bit, .quant_type = "nf5"});
  for (const int block : {0, -64, 16, 48, 8192}) {
    refuses(Kind::kUsage, "power of two", {.load_in = LoadIn::k4Bit, .block = block});
  }
  refuses(Kind::kUsage, "threshold", {.load_in = LoadIn::k8Bit, .int8_threshold = -1.0f});
  refuses(Kind::kUsage, "threshold", {.load_in = LoadIn::k8Bit, .int8_threshold = NAN});
  refuses(Kind::kUsage, "only with bitsandbytes' 8 bits", {.int8_threshold = 6.0f});
  refuses(Kind::kUnsupported, "not whole blocks of 512", {.load_in = LoadIn::k4Bit, .block = 512});

  QuantizeOptions options;
  options.grid = "q8_0";
  Quantize(model_, Path("q8.gguf"), options);
  ExpectError(Kind::kUsage, "no linear layer holds plain numbers",
              [&] { OpenToRun(Path("q8.gguf"), {.load_in = LoadIn::k4Bit}, 1); });
}

TEST_F(TinyLoadTest, ReportsWhatIsNotFinite) {
  int64_t vocabulary;
  for (const Way& way : Ways()) {
    ExpectError(Kind::kFormat, "'blk.0.ffn_up.weight' holds a value that is not finite", [&] {
      EvaluateLogits(WriteWith("blk.0.ffn_up", NAN), {1, 2}, 1, &vocabulary, way.precision);
    });
    // The weights are fine, what meets them is not.
    ExpectError(Kind::kFormat, "'blk.0.ffn_norm.weight' holds a value that is not finite", [&] {
      EvaluateLogits(WriteWith("blk.0.ffn_norm", INFINITY), {1, 2}, 1, &vocabulary, way.precision);
    });
  }
}

// Rounding takes long for large models.
TEST(LoadTest, CanBeCancelledWhileItRounds) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  for (const bool double_quant : {false, true}) {
    for (const int questions : {0, 50, 100}) {
      Impatient impatient(questions);
      LoadOptions options;
      options.precision = {.load_in = LoadIn::k4Bit, .double_quant = double_quant};
      options.progress = &impatient;
      ExpectError(Kind::kCancelled, "cancelled",
                  [&] { Model::Open(TinyBf16Folder().string(), options); });
    }
    // A model that is open has forgotten whom it asked.
    LoadOptions options;
    auto patient = std::make_unique<Impatient>(1 << 30);
    options.progress = patient.get();
    const auto model = Model::Open(TinyBf16Folder().string(), options);
    patient.reset();
    EXPECT_EQ(model->Logits({1, 2, 3}, nullptr).size(), 3u * 512);
  }
}

}  // namespace
}  // namespace halftone
