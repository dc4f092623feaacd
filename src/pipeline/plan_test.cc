#include "halftone/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "container/container.h"
#include "halftone/error.h"
#include "halftone/quantize.h"
#include "halftone/support.h"
#include "pipeline/dimensions.h"
#include "pipeline/presets.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::map<std::string, PlanRow> ByGrid(const PlanReport& report) {
  std::map<std::string, PlanRow> rows;
  for (const PlanRow& row : report.rows) rows[row.grid] = row;
  return rows;
}

PlanOptions Within(uint64_t memory, int64_t context = 4096) {
  PlanOptions options;
  options.memory = memory;
  options.context = context;
  return options;
}

int Recommended(const PlanReport& report) {
  return static_cast<int>(std::ranges::count(report.rows, true, &PlanRow::recommended));
}

TEST(PlanTest, SevenBillionByBits) {
  const PlanReport report = Plan("7B", {});
  EXPECT_EQ(report.parameters, 7'000'000'000);
  EXPECT_FALSE(report.exact);
  const auto rows = ByGrid(report);
  EXPECT_EQ(rows.at("f32").weight_bytes, 28'000'000'000u);
  EXPECT_NEAR(rows.at("f16").weight_bytes / 14e9, 1, 1e-3);
  EXPECT_EQ(rows.at("8-bit without scales").weight_bytes, 7'000'000'000u);
  EXPECT_EQ(rows.at("4-bit without scales").weight_bytes, 3'500'000'000u);
}

TEST(PlanTest, SizesAreParsed) {
  const std::map<std::string, int64_t> sizes = {{"135M", 135'000'000},
                                                {"1.1B", 1'100'000'000},
                                                {"70b", 70'000'000'000},
                                                {"1T", 1'000'000'000'000}};
  for (const auto& [text, parameters] : sizes) EXPECT_EQ(Plan(text, {}).parameters, parameters);
  for (const char* text : {"", "B", "7", "7Q", "-7B", "7B7", "nanB", "0B", "1e99B", "no/such.gguf",
                           "99999999999999T"}) {
    try {
      Plan(text, {});
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kUsage) << text;
    }
  }
}

TEST(PlanTest, EveryPresetHasARow) {
  const PlanReport report = Plan("1.1B", {});
  const auto rows = ByGrid(report);
  for (const Preset& preset : AllPresets()) {
    ASSERT_TRUE(rows.contains(std::string(preset.name))) << preset.name;
    const PlanRow& row = rows.at(std::string(preset.name));
    EXPECT_GE(row.bits_per_weight, 0.99 * GridNamed(preset.base).bits_per_weight()) << preset.name;
    EXPECT_EQ(row.total_bytes, row.weight_bytes + row.kv_cache_bytes + row.activation_bytes);
  }
  EXPECT_TRUE(std::ranges::is_sorted(report.rows, std::greater<>(), &PlanRow::bits_per_weight));
}

// File sizes of Llama-3-8B in GiB, from the help text of llama-quantize.
TEST(PlanTest, EightBillionHasTheSizesThatLlamaQuantizeReports) {
  const std::map<std::string, double> published = {
      {"q4_0", 4.34},   {"q4_1", 4.78},   {"q5_0", 5.21},   {"q5_1", 5.65},   {"q2_k", 2.96},
      {"q3_k_s", 3.41}, {"q3_k_m", 3.74}, {"q3_k_l", 4.03}, {"q4_k_s", 4.37}, {"q4_k_m", 4.58},
      {"q5_k_s", 5.21}, {"q5_k_m", 5.33}, {"q6_k", 6.14},   {"q8_0", 7.96}};
  const auto rows = ByGrid(Plan("8.03B", {}));
  for (const auto& [grid, gib] : published) {
    if (!rows.contains(grid)) continue;
    EXPECT_NEAR(static_cast<double>(rows.at(grid).weight_bytes) / 0x1p30, gib, 0.015) << grid;
  }
  EXPECT_TRUE(rows.contains("q8_0"));
}

TEST(PlanTest, MemoryDecidesWhatFitsAndIsRecommended) {
  for (const uint64_t memory : {uint64_t{3'200'000'000}, uint64_t{5'000'000'000},
                                uint64_t{9'000'000'000}, uint64_t{40'000'000'000}}) {
    const PlanReport report = Plan("7B", Within(memory, 512));
    EXPECT_EQ(report.ram_bytes, memory);
    EXPECT_EQ(report.vram_bytes, 0u);
    ASSERT_EQ(Recommended(report), 1) << memory;
    for (const PlanRow& row : report.rows) {
      EXPECT_EQ(row.fits_ram, row.total_bytes <= memory);
      EXPECT_FALSE(row.fits_vram);
      if (row.recommended) {
        EXPECT_TRUE(row.fits_ram);
        EXPECT_THAT(report.advice, HasSubstr(row.grid));
      }
    }
  }
}

TEST(PlanTest, MoreMemoryIsNeverWorseAdvice) {
  double bits = 0;
  for (uint64_t memory = 2'000'000'000; memory < 20'000'000'000; memory += 500'000'000) {
    const PlanReport report = Plan("7B", Within(memory, 512));
    for (const PlanRow& row : report.rows) {
      if (!row.recommended) continue;
      EXPECT_GE(row.bits_per_weight, bits) << memory;
      bits = row.bits_per_weight;
    }
  }
  EXPECT_GT(bits, 8);
}

TEST(PlanTest, NothingFitsIsSaid) {
  const PlanReport report = Plan("70B", Within(1'000'000'000));
  EXPECT_EQ(Recommended(report), 0);
  EXPECT_THAT(report.advice, HasSubstr("fits into the 1.0 GB"));
}

TEST(PlanTest, ContextCostsCache) {
  const PlanReport few = Plan("7B", Within(0, 1024)), many = Plan("7B", Within(0, 4096));
  EXPECT_EQ(many.rows[0].kv_cache_bytes, 4 * few.rows[0].kv_cache_bytes);
  EXPECT_THROW(Plan("7B", Within(0, 0)), Error);
  EXPECT_THROW(Plan("7B", Within(0, INT64_MAX)), Error);
}

TEST(PlanTest, ThisMachineIsMeasured) { EXPECT_GT(Plan("135M", {}).ram_bytes, 0u); }

// The promise of an exact plan: the files that quantize writes have that many bytes.
class ExactPlanTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ =
        fs::path(testing::TempDir()) /
        (std::string("plan_test_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  // A llama of zeros in the GGUF dialect.
  std::string WriteModel(const ModelDimensions& dimensions) const {
    CheckpointPlan plan;
    plan.metadata.Set("general.architecture", Value(std::string("llama")));
    plan.metadata.Set("llama.block_count", Value(static_cast<uint32_t>(dimensions.layers)));
    plan.metadata.Set("llama.embedding_length", Value(static_cast<uint32_t>(dimensions.width)));
    plan.metadata.Set("llama.attention.head_count", Value(static_cast<uint32_t>(dimensions.heads)));
    for (const Tensor& t : TensorsOf(dimensions)) plan.tensors.push_back({t.name, t.grid, t.shape});
    const std::string path = (dir_ / "model.gguf").string();
    const auto writer = ContainerNamed("gguf").create(path, plan);
    for (const TensorPlan& t : plan.tensors) writer->Append(std::vector<uint8_t>(t.bytes()));
    writer->Commit();
    return path;
  }

  // Returns how many of the grids could be written.
  int Compare(const std::string& model, const std::vector<std::string>& grids) const {
    const PlanReport report = Plan(model, {});
    EXPECT_TRUE(report.exact);
    const auto rows = ByGrid(report);
    const fs::path out = dir_ / "out.gguf";
    int written = 0;
    for (const std::string& grid : grids) {
      QuantizeOptions options;
      options.grid = grid;
      try {
        const QuantizeReport quantized = Quantize(model, out.string(), options);
        EXPECT_EQ(fs::file_size(out), rows.at(grid).weight_bytes) << grid;
        EXPECT_EQ(quantized.bits_per_weight, rows.at(grid).bits_per_weight) << grid;
        ++written;
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("imatrix")) << grid;
      }
    }
    return written;
  }

  fs::path dir_;
};

TEST_F(ExactPlanTest, FilesHaveThePlannedSizes) {
  std::vector<std::string> grids;
  for (const Preset& preset : AllPresets()) grids.emplace_back(preset.name);
  const std::string model = WriteModel({8, 256, 4, 2, 64, 320, 96, false});
  EXPECT_GT(Compare(model, grids), 15);
}

TEST_F(ExactPlanTest, FilesMadeOfFoldersHaveThePlannedSizes) {
  HALFTONE_NEED_SHARED("models/ref-75m/config.json");
  EXPECT_EQ(Compare(SharedPath("models/ref-75m").string(), {"q8_0", "q4_0"}), 2);
}

}  // namespace
}  // namespace halftone
