// Folders of compressed-tensors written and read back. What compressed-tensors itself makes of the
// same weights: tests/conformance/peer_rewrite_test.cc; what it reads: tests/interop.

#include "container/hf_compressed_tensors_writer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/round_trip.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

const Container& Ct() { return ContainerNamed("compressed-tensors"); }

TEST(HfCompressedTensorsWriterTest, BlocksComeBack) {
  for (const char* bits : {"int2", "int3", "int4", "int8"}) {
    for (const char* group : {":g32", ":g64", ":g8", ":row"}) {
      for (const char* rest : {"", ":bf16", ":f32", ":asym", ":asym:bf16"}) {
        ExpectRoundTrip(Ct(), std::string(bits) + group + rest, {37, 192});
      }
    }
  }
  for (const char* grid : {"fp8:row:bf16", "fp8:row", "fp8:g32:f32", "mxfp4", "int4:g32:asym"}) {
    ExpectRoundTrip(Ct(), grid, {37, 192});
    ExpectRoundTrip(Ct(), grid, {1, 64});
    ExpectRoundTrip(Ct(), grid, {0, 64});
  }
}

TEST(HfCompressedTensorsWriterTest, StoresWhatItsOwnerReads) {
  for (const char* grid :
       {"nf4:g64", "int8:row:absmax", "int4:g32:f32:bf16", "e2m1:g16:f32:bf16"}) {
    EXPECT_FALSE(Ct().can_store(*FindGrid(grid, 256))) << grid;
  }
  EXPECT_TRUE(Ct().can_store(F32Grid()));
}

struct Planned {
  std::string name, grid;
  std::vector<int64_t> shape = {2, 64};
};

CheckpointPlan PlanOf(const std::vector<Planned>& tensors) {
  CheckpointPlan plan;
  for (const Planned& t : tensors) {
    plan.tensors.push_back({t.name, FindGrid(t.grid, t.shape.back()), t.shape});
  }
  return plan;
}

TEST(HfCompressedTensorsWriterTest, RefusesWhatHasNoPlace) {
  const auto refuses = [](const CheckpointPlan& plan, const std::string& part) {
    const TempFolder temp;
    ExpectError(Kind::kUsage, part, [&] { Ct().create(temp.path() / "out", plan); });
    EXPECT_EQ(temp.Files(), 0);
  };
  refuses(PlanOf({{"a.weight", "nf4:g64"}}), "cannot hold grid 'nf4:g64'");
  refuses(PlanOf({{"a", "int4:g64"}}), "named '<layer>.weight'");
  refuses(PlanOf({{"a.weight", "int4:g64", {1, 2, 64}}}), "not [1, 2, 64]");
  CheckpointPlan ordered = PlanOf({{"a.weight", "int4:g64"}});
  ordered.tensors[0].order = std::make_shared<const std::vector<int32_t>>(64);
  refuses(ordered, "columns in their order");
}

TEST(HfCompressedTensorsWriterTest, ConfigurationNamesSchemes) {
  const CheckpointPlan plan = PlanOf({{"model.embed_tokens.weight", "bf16"},
                                      {"a.weight", "int4:g32:bf16"},
                                      {"b.weight", "int4:g32:bf16"},
                                      {"c.weight", "fp8:row:bf16"},
                                      {"d.weight", "fp8:row:bf16", {2, 128}},
                                      {"e.weight", "fp8:row:bf16"},
                                      {"f.weight", "int8:row:asym:bf16"},
                                      {"lm_head.weight", "bf16"},
                                      {"norm.weight", "bf16", {64}}});
  std::vector<std::vector<uint8_t>> blocks;
  for (const TensorPlan& t : plan.tensors) {
    blocks.push_back(
        RandomBlocks(*t.grid, static_cast<int64_t>(t.bytes()) / t.grid->bytes * t.grid->block, 1));
  }
  const TempFolder temp;
  const Checkpoint checkpoint = WriteAndOpen(Ct(), plan, blocks, temp);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Tensor tensor = Loaded(checkpoint.Get(plan.tensors[i].name));
    EXPECT_TRUE(std::ranges::equal(tensor.data, blocks[i])) << tensor.name;
  }
  const Json config =
      ParseJson(checkpoint.documents.at("config.json"), "config.json")["quantization_config"];
  EXPECT_EQ(config["quant_method"], "compressed-tensors");
  EXPECT_EQ(config["format"], "mixed-precision");
  EXPECT_EQ(config["ignore"], Json({"model.embed_tokens", "lm_head"}));
  const Json& groups = config["config_groups"];
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups["group_0"]["targets"], Json::array({"Linear"}));
  EXPECT_EQ(groups["group_0"]["format"], "float-quantized");  // three of six
  EXPECT_EQ(groups["group_0"]["weights"]["strategy"], "channel");
  EXPECT_EQ(groups["group_1"]["targets"], Json({"a", "b"}));
  EXPECT_EQ(groups["group_1"]["format"], "pack-quantized");
  EXPECT_EQ(groups["group_1"]["weights"]["group_size"], 32);
  EXPECT_EQ(groups["group_2"]["weights"]["symmetric"], false);
  EXPECT_EQ(groups["group_2"]["weights"]["num_bits"], 8);
}

}  // namespace
}  // namespace halftone
