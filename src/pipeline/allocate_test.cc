// Grids chosen for a target: never above it, and better than a preset of that size.

#include "pipeline/allocate.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "halftone/error.h"
#include "tests/testing/calibrated.h"
#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

class AllocateGridsTest : public CalibratedTest {
 protected:
  const QuantizeOptions options_ = Calibrated("imatrix", 24);
};

TEST_F(AllocateGridsTest, IsBetterThanThePresetOfTheSameSize) {
  QuantizeOptions preset = options_;
  preset.grid = "q3_k_m";
  const QuantizeReport plain = Quantize(model_, Out("preset.gguf"), preset);
  QuantizeOptions target = options_;
  target.target_bytes = plain.file_bytes;
  const QuantizeReport report = Quantize(model_, Out("chosen.gguf"), target);
  EXPECT_EQ(report.file_bytes, std::filesystem::file_size(Out("chosen.gguf")));
  EXPECT_LE(report.file_bytes, plain.file_bytes);
  EXPECT_GT(report.file_bytes, plain.file_bytes * 97 / 100);
  EXPECT_LT(Divergence(Out("chosen.gguf")), 0.8 * Divergence(Out("preset.gguf")));
  EXPECT_EQ(PlanQuantize(model_, target).file_bytes, report.file_bytes);
}

TEST_F(AllocateGridsTest, IsNeverAboveTheTarget) {
  // What is promised does not depend on how well the costs are known.
  QuantizeOptions brief = options_;
  brief.method = "rtn";
  brief.context = 32;
  for (const double bits : {3.0, 4.2, 6.5, 16.0}) {
    QuantizeOptions options = brief;
    options.target_bits = bits;
    const QuantizeReport report = PlanQuantize(model_, options);
    EXPECT_LE(report.bits_per_weight, bits);
    EXPECT_GT(report.bits_per_weight, 0.93 * bits);
  }
  QuantizeOptions options = brief;
  options.target_memory = 3'000'000;
  options.target_context = 64;
  const uint64_t short_context = PlanQuantize(model_, options).file_bytes;
  EXPECT_LT(short_context, options.target_memory);
  options.target_context = 96;
  EXPECT_LT(PlanQuantize(model_, options).file_bytes, short_context);
}

TEST_F(AllocateGridsTest, RefusesWhatCannotBe) {
  const auto refused = [&](const QuantizeOptions& options, const char* why) {
    ExpectError(Error::Kind::kUsage, why, [&] { Quantize(model_, Out("x.gguf"), options); });
    EXPECT_FALSE(std::filesystem::exists(Out("x.gguf")));
  };
  QuantizeOptions brief = options_;
  brief.method = "rtn";
  brief.context = 32;
  QuantizeOptions options = brief;
  refused(options, "or a target");
  options.target_bytes = 2000;
  refused(options, "leaves");
  options.target_bytes = 150'000;
  refused(options, "leaves");
  options.target_bits = 4;
  refused(options, "one target");
  options = brief;
  options.target_bits = 4;
  options.grid = "q4_0";
  refused(options, "not both");
  options.grid = "";
  options.container = "gptq";
  refused(options, "GGUF");
  options = brief;
  options.target_memory = 1000;
  refused(options, "beside the weights");
}

}  // namespace
}  // namespace halftone
