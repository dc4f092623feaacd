// Quantizing with methods that run the model while they round it.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "container/container.h"
#include "halftone/error.h"
#include "halftone/quantize.h"
#include "tests/testing/calibrated.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/impatient.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

class LayerwiseQuantizeTest : public CalibratedTest {
 protected:
  // kFew chunks are enough where only bytes are compared.
  static constexpr int64_t kFew = 8;

  static QuantizeOptions Options(const std::string& method, int64_t chunks = 40) {
    QuantizeOptions options = Calibrated(method, chunks);
    options.grid = "q3_k_m";
    return options;
  }
};

// Stops a run after a number of steps, as Ctrl-C would.
class StopAfter : public Progress {
 public:
  explicit StopAfter(int polls) : left_(polls) {}
  void Begin(std::string_view task, int64_t) override { rounding_ = task.starts_with("round"); }
  void Advance(int64_t) override { left_ -= rounding_; }
  void End() override {}
  void Note(std::string_view) override {}
  bool Cancelled() override { return left_ <= 0; }

 private:
  bool rounding_ = false;
  int left_;
};

TEST_F(LayerwiseQuantizeTest, LosesLessThanImportancesAtTheSameBytes) {
  QuantizeOptions imatrix = Options("imatrix");
  const QuantizeReport plain = Quantize(model_, Out("imatrix.gguf"), imatrix);
  const QuantizeReport best = Quantize(model_, Out("best.gguf"), Options("best"));
  EXPECT_EQ(best.tensor_bytes, plain.tensor_bytes);
  EXPECT_LT(Divergence(Out("best.gguf")), 0.7 * Divergence(Out("imatrix.gguf")));
  for (size_t i = 0; i < best.tensors.size(); ++i) {
    const QuantizedTensor& t = best.tensors[i];
    EXPECT_EQ(t.grid, plain.tensors[i].grid);
    if (t.output_error == 0) continue;
    EXPECT_GT(t.damping, 0) << t.name;
  }
  EXPECT_EQ(folder_.Files(), 2) << "the journal must be gone";
}

TEST_F(LayerwiseQuantizeTest, ScalesByActivationsLoseLess) {
  Quantize(model_, Out("rtn.gguf"), Options("imatrix"));
  Quantize(model_, Out("awq.gguf"), Options("awq+imatrix"));
  EXPECT_LT(Divergence(Out("awq.gguf")), 0.95 * Divergence(Out("rtn.gguf")));
}

// The columns' order reaches the file and comes back from it.
TEST_F(LayerwiseQuantizeTest, ActOrderIsKeptWhereTheContainerCan) {
  QuantizeOptions options = Options("gptq");
  options.grid = "int4:g32";
  options.container = "gptq";
  Quantize(model_, Out("straight"), options);
  options.act_order = true;
  Quantize(model_, Out("sorted"), options);
  const std::string config = ReadBytes(fs::path(Out("sorted")) / "quantize_config.json");
  EXPECT_NE(config.find("\"desc_act\": true"), std::string::npos) << config;
  EXPECT_LT(Divergence(Out("sorted")), 1.1 * Divergence(Out("straight")));
  options.container = "awq";
  EXPECT_THROW(Quantize(model_, Out("x"), options), Error);
  options.container = "gptq";
  options.method = "rtn";
  EXPECT_THROW(Quantize(model_, Out("x"), options), Error);
}

class ResumeTest : public LayerwiseQuantizeTest, public testing::WithParamInterface<const char*> {};

TEST_P(ResumeTest, GivesTheSameBytesAndDoesNotDependOnThreads) {
  const std::string method = GetParam();
  QuantizeOptions options = Options(method, kFew);
  options.threads = 2;
  Quantize(model_, Out("whole.gguf"), options);
  options.threads = 1;
  StopAfter stop(5);
  options.progress = &stop;
  try {
    Quantize(model_, Out("resumed.gguf"), options);
    FAIL() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kCancelled);
  }
  EXPECT_FALSE(fs::exists(Out("resumed.gguf")));
  ASSERT_TRUE(fs::exists(Out("resumed.gguf.partial")));
  options.progress = nullptr;
  options.resume = true;
  Quantize(model_, Out("resumed.gguf"), options);
  EXPECT_FALSE(fs::exists(Out("resumed.gguf.partial")));
  EXPECT_EQ(ReadBytes(Out("resumed.gguf")), ReadBytes(Out("whole.gguf")));
}

INSTANTIATE_TEST_SUITE_P(Methods, ResumeTest, testing::Values("best", "awq+gptq"),
                         [](const auto& info) { return std::string(info.param, 3); });

// Counts how often it is asked whether to go on, and the reports that nobody asked before.
class Questions : public Progress {
 public:
  void Begin(std::string_view, int64_t) override { Report(); }
  void Advance(int64_t) override { Report(); }
  void End() override {}
  void Note(std::string_view) override {}
  bool Cancelled() override {
    ++all;
    ++since_report_;
    return false;
  }

  int64_t all = 0;
  int64_t unasked = 0;

 private:
  void Report() {
    unasked += since_report_ == 0;
    since_report_ = 0;
  }

  int64_t since_report_ = 0;
};

class CancelTest : public LayerwiseQuantizeTest, public testing::WithParamInterface<const char*> {};

// No stretch of the work is without a question, however large its tensors, and whichever is
// answered leaves no half-written file.
TEST_P(CancelTest, AsksInEveryStretchOfTheWork) {
  QuantizeOptions options = Options(GetParam(), kFew);
  options.grid = "q4_0";
  options.threads = 1;
  Questions questions;
  options.progress = &questions;
  const QuantizeReport report = Quantize(model_, Out("whole.gguf"), options);
  // A piece of a loop that rounds is at most so many weights.
  constexpr int64_t kPiece = 16384;
  int64_t weights = 0;
  for (const QuantizedTensor& t : report.tensors) {
    if (t.relative_error > 0) weights += static_cast<int64_t>(t.bytes * 8 / 4.5);
  }
  EXPECT_GT(weights, 10 * kPiece);
  EXPECT_GE(questions.all, weights / kPiece);
  // Before the first report there is only the reading of files, and importances go as they are from
  // where they were measured to where they are used.
  EXPECT_LE(questions.unasked, options.method == "imatrix" ? 2 : 1);
  constexpr int kTimes = 8;
  for (int i = 0; i < kTimes; ++i) {
    Impatient impatient(questions.all * i / kTimes);
    options.progress = &impatient;
    ExpectError(Error::Kind::kCancelled, Out("out.gguf") + ": cancelled",
                [&] { Quantize(model_, Out("out.gguf"), options); });
    fs::remove_all(Out("out.gguf.partial"));
    EXPECT_EQ(folder_.Files(), 1) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, CancelTest,
                         testing::Values("rtn", "imatrix", "gptq", "awq+clip", "best"),
                         [](const auto& info) { return std::string(info.param, 3); });

TEST_F(LayerwiseQuantizeTest, AJournalOfOtherOptionsIsNotUsed) {
  QuantizeOptions options = Options("gptq", kFew);
  StopAfter stop(3);
  options.progress = &stop;
  EXPECT_THROW(Quantize(model_, Out("a.gguf"), options), Error);
  ASSERT_TRUE(fs::exists(Out("a.gguf.partial")));
  options.progress = nullptr;
  options.resume = true;
  options.grid = "q2_k";
  Quantize(model_, Out("a.gguf"), options);
  options.resume = false;
  Quantize(model_, Out("b.gguf"), options);
  EXPECT_EQ(ReadBytes(Out("a.gguf")), ReadBytes(Out("b.gguf")));
}

TEST_F(LayerwiseQuantizeTest, RefusesWhatCannotWork) {
  QuantizeOptions options = Options("gptq");
  options.imatrix = "some.imatrix";
  options.calibration = "";
  EXPECT_THROW(Quantize(model_, Out("x.gguf"), options), Error);
  options = Options("gptq");
  options.calibration = folder_.Write("short.txt", "too short").string();
  EXPECT_THROW(Quantize(model_, Out("x.gguf"), options), Error);
  EXPECT_FALSE(fs::exists(Out("x.gguf")));
}

}  // namespace
}  // namespace halftone
