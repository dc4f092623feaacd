// Folders of bitsandbytes written and read back. What bitsandbytes itself makes of the same
// weights: tests/conformance/peer_rewrite_test.cc; what it reads: tests/interop.

#include "container/hf_bnb_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "grid/dynamic_levels.h"
#include "grid/nested_scales.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/round_trip.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

const Container& Bnb() { return ContainerNamed("bnb"); }

TEST(HfBnbWriterTest, BlocksComeBack) {
  for (const char* grid : {"nf4:g32", "nf4:g64", "nf4:g128", "fp4:g64", "nf4:g64:f32:f16",
                           "fp4:g64:f32", "int8:row:absmax"}) {
    ExpectRoundTrip(Bnb(), grid, {37, 256});
    ExpectRoundTrip(Bnb(), grid, {1, 128});
    ExpectRoundTrip(Bnb(), grid, {0, 128});
  }
  ExpectRoundTrip(Bnb(), "nf4:g64", {3, 5, 64});  // experts
}

TEST(HfBnbWriterTest, StoresWhatBitsandbytesReads) {
  for (const char* grid : {"nf4:g16", "nf4:g96", "nf4:g8192", "nf4:g64:f16", "int4:g64", "int8:row",
                           "int8:row:f32", "e2m1:g32", "fp8:row"}) {
    EXPECT_FALSE(Bnb().can_store(*FindGrid(grid, 256))) << grid;
  }
  EXPECT_TRUE(Bnb().can_store(F32Grid()));
}

CheckpointPlan PlanOf(const std::vector<std::pair<std::string, std::string>>& tensors) {
  CheckpointPlan plan;
  for (const auto& [name, grid] : tensors) {
    plan.tensors.push_back({name, FindGrid(grid, 64), {2, 64}});
  }
  return plan;
}

void Refuses(const CheckpointPlan& plan, const std::string& part) {
  const TempFolder temp;
  ExpectError(Kind::kUsage, part, [&] { Bnb().create(temp.path() / "out", plan); });
  ExpectError(Kind::kUsage, part, [&] { Bnb().file_bytes(plan); });
  EXPECT_EQ(temp.Files(), 0);
}

TEST(HfBnbWriterTest, RefusesMixesAndOddities) {
  Refuses(PlanOf({{"a.weight", "nf4:g64"}, {"b.weight", "int8:row:absmax"}}), "of one kind");
  Refuses(PlanOf({{"a.weight", "nf4:g64"}, {"b.weight", "fp4:g64"}}), "of one kind");
  Refuses(PlanOf({{"a.weight", "int4:g64"}}), "cannot hold grid 'int4:g64'");
  Refuses(PlanOf({{"a", "int8:row:absmax"}}), "named '<layer>.weight'");
  CheckpointPlan ordered = PlanOf({{"a.weight", "nf4:g64"}});
  ordered.tensors[0].order = std::make_shared<const std::vector<int32_t>>(64);
  Refuses(ordered, "columns in their order");
}

Json ConfigOf(const CheckpointPlan& plan) {
  std::vector<std::vector<uint8_t>> blocks;
  for (const TensorPlan& tensor : plan.tensors) {
    blocks.push_back(RandomBlocks(*tensor.grid, 2 * 64, 1));
  }
  const TempFolder temp;
  const Checkpoint checkpoint = WriteAndOpen(Bnb(), plan, blocks, temp);
  return ParseJson(checkpoint.documents.at("config.json"), "config.json");
}

TEST(HfBnbWriterTest, ConfigurationTellsKindAndWhatIsSkipped) {
  CheckpointPlan plan = PlanOf({{"model.embed_tokens.weight", "bf16"},
                                {"layers.0.q.weight", "nf4:g64:dq"},
                                {"layers.0.k.weight", "bf16"},
                                {"layers.0.k.bias", "bf16"}});
  plan.documents["config.json"] =
      R"({"hidden_size": 64, "quantization_config": {"quant_method": "gptq"}, "dtype": "bfloat16"})";
  const Json json = ConfigOf(plan);
  EXPECT_EQ(json["hidden_size"], 64);
  const Json& config = json["quantization_config"];
  EXPECT_EQ(config["quant_method"], "bitsandbytes");
  EXPECT_EQ(config["load_in_4bit"], true);
  EXPECT_EQ(config["load_in_8bit"], false);
  EXPECT_EQ(config["bnb_4bit_quant_type"], "nf4");
  EXPECT_EQ(config["bnb_4bit_use_double_quant"], true);
  EXPECT_EQ(config["bnb_4bit_compute_dtype"], "bfloat16");
  EXPECT_EQ(config["llm_int8_skip_modules"],
            Json({"model.embed_tokens", "layers.0.k", "lm_head"}));  // the head is tied
  const Json eight = ConfigOf(PlanOf({{"lm_head.weight", "int8:row:absmax"}}));
  EXPECT_EQ(eight["quantization_config"]["load_in_8bit"], true);
  EXPECT_EQ(eight["quantization_config"]["llm_int8_skip_modules"], Json::array());
}

// Dettmers et al. 2023, section 3: 8 bits for the scales cost little.
TEST(HfBnbWriterTest, DoubleQuantizationKeepsScales) {
  const Grid& grid = *FindGrid("nf4:g64:dq", 256);
  const int64_t rows = 200, n = rows * 256;
  std::vector<uint8_t> blocks = RandomBlocks(grid, n, 5);
  std::vector<float> scales;
  for (int64_t i = 0; i < n / 64; ++i) {
    const float scale = 0.5f + 0.25f * std::sin(static_cast<float>(i));
    std::memcpy(blocks.data() + i * grid.bytes, &scale, 4);
    scales.push_back(scale);
  }
  CheckpointPlan plan;
  plan.tensors = {{"a.weight", &grid, {rows, 256}}};
  const TempFolder temp;
  const Tensor tensor = Loaded(WriteAndOpen(Bnb(), plan, {blocks}, temp).Get("a.weight"));
  ASSERT_EQ(tensor.grid, &grid);
  const NestedScales nested = QuantizeScales(scales);
  for (int64_t i = 0; i < n / 64; ++i) {
    const uint8_t* block = tensor.data.data() + i * grid.bytes;
    EXPECT_TRUE(std::equal(block + 4, block + grid.bytes, blocks.data() + i * grid.bytes + 4));
    const float scale = LoadReal(Real::kF32, block);
    // Half of the widest step, 0.9 / 64 of the largest deviation.
    EXPECT_NEAR(scale, scales[i], 0.25f * 1.1f * 0.9f / 64 / 2 + 1e-6f);
    EXPECT_EQ(scale, DynamicLevels()[nested.codes[i]] * nested.absmax[i / 256] + nested.offset);
  }
}

TEST(HfBnbWriterTest, DoubleQuantizationOfEqualScalesIsExact) {
  const NestedScales nested = QuantizeScales(std::vector<float>(300, 0.75f));
  EXPECT_EQ(nested.offset, 0.75f);
  EXPECT_EQ(nested.absmax, (std::vector<float>{0, 0}));
  EXPECT_EQ(DynamicLevels()[nested.codes[299]], 0);
  EXPECT_TRUE(QuantizeScales({}).codes.empty());
}

}  // namespace
}  // namespace halftone
