#include "pipeline/dimensions.h"

#include <gtest/gtest.h>

#include <map>

#include "halftone/error.h"

namespace halftone {
namespace {

// Parameter counts as published on the models' pages, in millions (Qwen's with biases, which are
// left out here: less than 0.1 % of them).
const std::map<std::string_view, double> kPublished = {
    {"SmolLM2-135M", 134.515},   {"SmolLM2-360M", 361.821}, {"TinyLlama-1.1B", 1100.048},
    {"Llama-3.2-3B", 3212.75},   {"Mistral-7B", 7241.73},   {"Llama-3-8B", 8030.26},
    {"Qwen2.5-14B", 14770.0},    {"Qwen2.5-32B", 32763.9},  {"Llama-3-70B", 70553.7},
    {"Llama-3.1-405B", 405853.4}};

int64_t CountOf(const ModelDimensions& dimensions) {
  int64_t count = 0;
  for (const Tensor& tensor : TensorsOf(dimensions)) count += tensor.count();
  return count;
}

TEST(DimensionsTest, KnownModelsHaveTheirPublishedSizes) {
  for (const KnownModel& model : KnownModels()) {
    const double published = kPublished.at(model.name) * 1e6;
    EXPECT_NEAR(model.dimensions.Parameters() / published, 1, 1e-3) << model.name;
    EXPECT_EQ(CountOf(model.dimensions), model.dimensions.Parameters()) << model.name;
  }
}

TEST(DimensionsTest, SizesOfKnownModelsGiveThemBack) {
  for (const KnownModel& model : KnownModels()) {
    const ModelDimensions typical = TypicalDimensions(model.dimensions.Parameters());
    EXPECT_EQ(typical.layers, model.dimensions.layers) << model.name;
    EXPECT_EQ(typical.width, model.dimensions.width) << model.name;
  }
}

// Between the known models and beyond them the guess must be a model of about that size.
TEST(DimensionsTest, GuessesHaveAboutTheSizeAskedFor) {
  for (double size = 20e6; size < 3e12; size *= 1.17) {
    const auto parameters = static_cast<int64_t>(size);
    const ModelDimensions d = TypicalDimensions(parameters);
    EXPECT_NEAR(static_cast<double>(d.Parameters()) / size, 1, 0.35) << size;
    EXPECT_EQ(d.heads % d.kv_heads, 0) << size;
    EXPECT_EQ(CountOf(d), d.Parameters()) << size;
  }
  EXPECT_GT(TypicalDimensions(1000).Parameters(), 0);
}

// Llama-2-7B's cache: 32 layers, 32 heads of 128, 4096 tokens, 2 bytes each: 2 GiB (vLLM's and many
// others' arithmetic).
TEST(DimensionsTest, CacheHoldsKeysAndValues) {
  const ModelDimensions llama2 = {32, 4096, 32, 32, 128, 11008, 32000, false};
  EXPECT_EQ(KvCacheBytes(llama2, 4096, GridNamed("f16")), uint64_t{2} << 30);
  EXPECT_EQ(KvCacheBytes(llama2, 4096, F32Grid()), uint64_t{4} << 30);
  EXPECT_EQ(KvCacheBytes(llama2, 4096, GridNamed("q8_0")), (uint64_t{1} << 30) / 16 * 17);
  // Heads of 80 are three blocks.
  const ModelDimensions phi = {32, 2560, 32, 32, 80, 10240, 51200, false};
  EXPECT_EQ(KvCacheBytes(phi, 1, GridNamed("q4_0")), 2u * 32 * 32 * 3 * 18);
}

TEST(DimensionsTest, ActivationsAreTheWorkspace) {
  const ModelDimensions d = {2, 64, 4, 2, 16, 128, 100, false};
  // residual, normed, branch 64 each; query, attended 64; key, value 32; gate, up 128; 100 logits.
  EXPECT_EQ(ActivationBytes(d, 10), 4u * 10 * (3 * 64 + 2 * 64 + 2 * 32 + 2 * 128) + 4u * 100);
}

TEST(DimensionsTest, OverflowIsAnError) {
  const int64_t big = int64_t{1} << 31;
  EXPECT_THROW(KvCacheBytes({big, big, big, big, big, big, big, false}, big, F32Grid()), Error);
}

Source SourceWith(std::vector<std::pair<std::string, Value>> settings) {
  Source source;
  source.shape.architecture = "llama";
  for (auto& [key, value] : settings) source.metadata.Set(key, std::move(value));
  return source;
}

TEST(DimensionsTest, MetadataTellsDimensions) {
  const Source source =
      SourceWith({{"llama.block_count", uint32_t{2}},
                  {"llama.embedding_length", uint32_t{64}},
                  {"llama.attention.head_count", uint32_t{4}},
                  {"llama.feed_forward_length", Array{std::vector<int32_t>{96, 128}}}});
  const ModelDimensions d = DimensionsOf(source);
  EXPECT_EQ(d.layers, 2);
  EXPECT_EQ(d.kv_heads, 4);
  EXPECT_EQ(d.head_dim, 16);
  EXPECT_EQ(d.feed_forward, 128);
}

TEST(DimensionsTest, HostileMetadataIsAnError) {
  for (const Value& value : {Value(int64_t{-1}), Value(INT64_MAX), Value(int64_t{1} << 40)}) {
    EXPECT_THROW(DimensionsOf(SourceWith({{"llama.block_count", value}})), Error);
  }
}

}  // namespace
}  // namespace halftone
