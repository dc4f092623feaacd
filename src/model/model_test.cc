#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/json.h"
#include "container/container.h"
#include "engine/session.h"
#include "halftone/error.h"
#include "model/dialect.h"
#include "model/forward.h"
#include "model/hyperparameters.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

const Architecture& Llama() { return *AllArchitectures().front(); }

TEST(DialectTest, NamesTranslateBothWays) {
  for (const Architecture* architecture : AllArchitectures()) {
    for (const RoleName& role : architecture->roles) {
      for (const Dialect dialect : {Dialect::kGguf, Dialect::kHuggingFace}) {
        for (const bool bias : {false, true}) {
          RolePlace place{&role, role.per_layer ? 17 : -1, bias};
          const bool hf = dialect == Dialect::kHuggingFace;
          if (hf && role.hf.empty()) continue;
          if (hf && IsExpert(role.role)) place.expert = 101;
          const std::string name = NameInDialect(dialect, place);
          const auto back = PlaceOf(*architecture, dialect, name);
          ASSERT_TRUE(back) << architecture->name << " " << name;
          EXPECT_EQ(back->role, place.role) << name;
          EXPECT_EQ(back->layer, place.layer) << name;
          EXPECT_EQ(back->bias, bias) << name;
          EXPECT_EQ(back->expert, place.expert) << name;
        }
      }
    }
  }
  const Architecture& llama = Llama();
  for (const char* strange : {"model.layers.0.block_sparse_moe.experts..w1.weight",
                              "model.layers.0.block_sparse_moe.experts.x.w1.weight",
                              "model.layers.0.block_sparse_moe.experts.1w1.weight",
                              "model.layers.0.block_sparse_moe.experts.-1.w1.weight"}) {
    EXPECT_FALSE(PlaceOf(llama, Dialect::kHuggingFace, strange)) << strange;
  }
  const auto q = PlaceOf(Llama(), Dialect::kHuggingFace, "model.layers.3.self_attn.q_proj.weight");
  ASSERT_TRUE(q);
  EXPECT_EQ(NameInDialect(Dialect::kGguf, *q), "blk.3.attn_q.weight");
  for (const char* strange : {"blk.0.attn_q", "blk..attn_q.weight", "blk.-1.attn_q.weight",
                              "blk.99999999999999999999.attn_q.weight", "attn_q.weight", ""}) {
    EXPECT_FALSE(PlaceOf(Llama(), Dialect::kGguf, strange)) << strange;
  }
}

// llama.cpp's converter: GGUF row h*D + 2i + j is row h*D + j*(D/2) + i.
TEST(DialectTest, RowsOfAHeadInterleaveItsHalves) {
  const int64_t order[] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  for (int64_t r = 0; r < 16; ++r) EXPECT_EQ(SourceRow(r, 16, 2), order[r]);
}

TEST(HyperparametersTest, Llama3ScalingStretchesLongWavesOnly) {
  // transformers, modeling_rope_utils, rope_type llama3, for head_dim 64, theta 5e5,
  // factor 32, low 1, high 4, original 8192: the factors are 1 for short waves, 32 for long ones.
  Checkpoint checkpoint;
  checkpoint.path = "test";
  checkpoint.dialect = Dialect::kHuggingFace;
  checkpoint.documents["config.json"] = R"({"architectures": ["LlamaForCausalLM"],
    "vocab_size": 8, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1,
    "intermediate_size": 64, "rope_theta": 500000.0, "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})";
  const Hyperparameters p = ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint));
  ASSERT_EQ(p.rope_factors.size(), 32u);
  EXPECT_EQ(p.rope_factors.front(), 1);
  EXPECT_EQ(p.rope_factors.back(), 32);
  for (size_t i = 1; i < 32; ++i) EXPECT_GE(p.rope_factors[i], p.rope_factors[i - 1]);
}

TEST(HyperparametersTest, SaysWhichKeyIsWrong) {
  const auto message = [](const std::string& config) -> std::string {
    Checkpoint checkpoint;
    checkpoint.path = "dir";
    checkpoint.dialect = Dialect::kHuggingFace;
    checkpoint.documents["config.json"] = config;
    try {
      ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint));
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message("[]").find("architectures"), std::string::npos);
  EXPECT_NE(message(R"({"architectures": ["Gpt9"]})").find("'Gpt9' is not supported"),
            std::string::npos);
  EXPECT_NE(message(R"({"architectures": ["LlamaForCausalLM"]})").find("vocab_size"),
            std::string::npos);
  EXPECT_NE(message(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": -3})").find("-3"),
            std::string::npos);
  EXPECT_NE(message(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 8,
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 3,
    "num_key_value_heads": 2, "head_dim": 2, "intermediate_size": 64})")
                .find("3 heads cannot share 2"),
            std::string::npos);
  EXPECT_NE(message(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 8,
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64,
    "rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}})")
                .find("'yarn' is not supported"),
            std::string::npos);
}

TEST(TiedHeadTest, ConfigAndTensorsMustAgree) {
  const std::vector<float> one(8, 1.0f), two(8, 2.0f);
  const auto complaint = [](const char* config, std::vector<Tensor> tensors) -> std::string {
    Checkpoint checkpoint;
    checkpoint.path = "dir";
    checkpoint.dialect = Dialect::kHuggingFace;
    checkpoint.documents["config.json"] = config;
    checkpoint.tensors = std::move(tensors);
    try {
      CheckTiedHead(checkpoint, *AllArchitectures()[0]);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const Tensor embedding = MakeF32Tensor("model.embed_tokens.weight", {2, 4}, one);
  const Tensor same = MakeF32Tensor("lm_head.weight", {2, 4}, one);
  const Tensor other = MakeF32Tensor("lm_head.weight", {2, 4}, two);
  const char* tied = R"({"tie_word_embeddings": true})";
  const char* untied = R"({"tie_word_embeddings": false})";
  EXPECT_EQ(complaint(tied, {embedding}), "");
  EXPECT_EQ(complaint(tied, {embedding, same}), "");
  EXPECT_NE(complaint(tied, {embedding, other}).find("'lm_head.weight' is another"),
            std::string::npos);
  EXPECT_EQ(complaint(untied, {embedding, other}), "");
  EXPECT_NE(complaint(untied, {embedding}).find("no tensor 'lm_head.weight'"), std::string::npos);
  EXPECT_EQ(complaint("{}", {embedding}), "");
  EXPECT_EQ(complaint("{}", {embedding, other}), "");
}

}  // namespace
}  // namespace halftone
