// A configuration that is written must be read as the numbers that it was written from. That
// transformers reads the same is checked by tests/interop/documents_test.py.

#include "model/hf_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

const Architecture& Llama() { return *AllArchitectures().front(); }

Hyperparameters Small() {
  Hyperparameters p;
  p.vocabulary = 512;
  p.context = 131072;
  p.width = 256;
  p.layers = 2;
  p.heads = 4;
  p.kv_heads = 2;
  p.head_dim = p.rope_dim = 96;
  p.feed_forward = 384;
  p.rms_eps = 1e-5f;
  p.attention_scale = 1.0f / std::sqrt(96.0f);
  p.rope_base = 500000;
  return p;
}

Hyperparameters Read(const std::string& config) {
  Checkpoint checkpoint;
  checkpoint.path = "folder";
  checkpoint.dialect = Dialect::kHuggingFace;
  checkpoint.documents["config.json"] = config;
  return ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint));
}

std::string Written(const Hyperparameters& p) {
  return HfConfig(Llama(), p, {.dtype = "bfloat16", .bos = 1, .pad = {}, .eos = {2, 7}},
                  "model.gguf");
}

void ExpectSame(const Hyperparameters& a, const Hyperparameters& b) {
  EXPECT_EQ(a.vocabulary, b.vocabulary);
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.feed_forward, b.feed_forward);
  EXPECT_EQ(a.rms_eps, b.rms_eps);
  EXPECT_EQ(a.attention_scale, b.attention_scale);
  EXPECT_EQ(a.rope_base, b.rope_base);
  EXPECT_EQ(a.rope_linear_factor, b.rope_linear_factor);
  EXPECT_EQ(a.rope_factors, b.rope_factors);
}

TEST(HfConfigTest, IsReadAsItWasWritten) {
  ExpectSame(Read(Written(Small())), Small());
  Hyperparameters linear = Small();
  linear.rope_linear_factor = 2.5f;
  ExpectSame(Read(Written(linear)), linear);
}

// Those that Meta uses and a few others.
TEST(HfConfigTest, FindsLlamas3sScaling) {
  for (const Llama3Scaling& scaling :
       {Llama3Scaling{8, 1, 4, 8192}, Llama3Scaling{32, 1, 4, 8192}, Llama3Scaling{16, 1, 4, 4096},
        Llama3Scaling{4, 2, 8, 2048}}) {
    Hyperparameters p = Small();
    p.rope_factors = scaling.Factors(p.rope_dim, p.rope_base);
    ExpectSame(Read(Written(p)), p);
    const Json rope = ParseJson(Written(p), "config")["rope_scaling"];
    EXPECT_EQ(rope["rope_type"], "llama3");
    EXPECT_EQ(rope["factor"], scaling.factor);
  }
}

// The class follows from what the model has: a window is Mistral's, experts are Mixtral's.
TEST(HfConfigTest, NamesTheClassThatCanSayIt) {
  Hyperparameters p = Small();
  p.window = 4096;
  p.windowed.assign(2, true);
  Json config = ParseJson(Written(p), "config");
  EXPECT_EQ(config["architectures"], Json::array({"MistralForCausalLM"}));
  EXPECT_EQ(config["sliding_window"], 4096);
  ExpectSame(Read(Written(p)), p);
  EXPECT_EQ(Read(Written(p)).window, 4096);
  p = Small();
  p.experts = 8;
  p.expert = {2, 384, true};
  config = ParseJson(Written(p), "config");
  EXPECT_EQ(config["architectures"], Json::array({"MixtralForCausalLM"}));
  EXPECT_EQ(config["model_type"], "mixtral");
  EXPECT_EQ(Read(Written(p)).experts, 8);
  EXPECT_EQ(Read(Written(p)).expert.used, 2);
}

TEST(HfConfigTest, SaysWhatReadersOfOtherVersionsLookFor) {
  const Json config = ParseJson(Written(Small()), "config");
  EXPECT_EQ(config["architectures"], Json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config["rope_theta"], config["rope_parameters"]["rope_theta"]);
  EXPECT_EQ(config["dtype"], config["torch_dtype"]);
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05") << "the shortest number that is this float";
  EXPECT_EQ(config["eos_token_id"], Json::array({2, 7}));
  EXPECT_TRUE(config["pad_token_id"].is_null());
}

TEST(HfConfigTest, RefusesWhatItCannotExpress) {
  Hyperparameters p = Small();
  p.rope_dim = 64;
  ExpectError(Error::Kind::kUnsupported, "64 of 96", [&] { Written(p); });
  p = Small();
  p.attention_scale = 0.125f;
  ExpectError(Error::Kind::kUnsupported, "multiplied by 0.125", [&] { Written(p); });
  p = Small();
  p.rope_factors.assign(48, 1.0f);
  p.rope_factors[20] = 3;
  ExpectError(Error::Kind::kUnsupported, "rope_freqs.weight", [&] { Written(p); });
}

}  // namespace
}  // namespace halftone
