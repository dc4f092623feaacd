// Every architecture against transformers: architectures/ holds small models of each, made by
// make_models.py, and the logits that transformers computes with them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "container/container.h"
#include "engine/batch.h"
#include "engine/session.h"
#include "halftone/quantize.h"
#include "model/dialect.h"
#include "model/hyperparameters.h"
#include "model/text_model.h"
#include "tests/cli/npy.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTokens = 48;

fs::path Models() { return SourcePath("tests/golden/architectures"); }

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(Models())) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

std::vector<int32_t> Tokens(int64_t vocabulary) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < kTokens; ++i) {
    tokens.push_back(static_cast<int32_t>((7 * i * i + 3 * i + 1) % vocabulary));
  }
  return tokens;
}

std::shared_ptr<const LoadedModel> Load(Checkpoint checkpoint,
                                        Activations activations = Activations::kF32) {
  return std::make_shared<const LoadedModel>(std::move(checkpoint),
                                             std::shared_ptr<Ops>(MakeCpuOps(2, activations)));
}

// Logits [tokens, vocabulary], the tokens in pieces of that many.
std::vector<float> Logits(const std::shared_ptr<const LoadedModel>& model, int64_t count,
                          int64_t piece, const Grid& cache = F32Grid()) {
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  const std::vector<int32_t> tokens = Tokens(vocabulary);
  std::vector<float> logits(static_cast<size_t>(count * vocabulary));
  Session session(model, count, cache);
  for (int64_t t = 0; t < count; t += piece) {
    const int64_t n = std::min(piece, count - t);
    session.Append(std::span(tokens).subspan(t, n), n, logits.data() + t * vocabulary);
  }
  return logits;
}

// The largest difference in parts of the range of what was expected.
double Distance(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(actual[i]) - expected[i]));
  }
  const auto [low, high] = std::ranges::minmax(expected);
  return largest / (high - low);
}

Checkpoint WithConfig(const Checkpoint& folder, const std::string& config) {
  Checkpoint other = folder;
  other.documents["config.json"] = config;
  return other;
}

// Everything that the hyperparameters say, as GGUF's metadata and tensors have it.
std::vector<std::string> Said(const Checkpoint& checkpoint) {
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters p = ReadHyperparameters(checkpoint, architecture);
  std::vector<std::string> said;
  const Metadata metadata = GgufModelMetadata(architecture, p, "model", 1);
  for (const auto& [key, value] : metadata.entries()) {
    said.push_back(key + " = " + ValueText(value, 100));
  }
  const auto add = [&](const char* name, const std::vector<float>& factors) {
    for (const float factor : factors) said.push_back(name + std::to_string(factor));
  };
  add("factor ", p.rope_factors);
  add("long ", p.long_rope.long_factors);
  add("short ", p.long_rope.short_factors);
  return said;
}

class ArchitecturesTest : public testing::TestWithParam<std::string> {
 protected:
  fs::path Folder() const { return Models() / GetParam(); }
  std::vector<float> Expected(const char* file = "logits.npy") const {
    return ParseNpy(ReadBytes(Folder() / file)).values;
  }
  std::string Out(const char* name) const { return out_.path() / name; }

  TempFolder out_;
};

// f32 sums in another order: 1.2e-6 was seen.
constexpr double kAllowed = 1e-5;

TEST_P(ArchitecturesTest, ComputesWhatTransformersDoes) {
  const auto model = Load(OpenCheckpoint(Folder()));
  const std::vector<float> logits = Logits(model, kTokens, kTokens);
  EXPECT_LT(Distance(logits, Expected()), kAllowed);
  EXPECT_EQ(Logits(model, kTokens, 1), logits) << "token by token";
  EXPECT_EQ(Logits(model, kTokens, 7), logits);
  if (!fs::exists(Folder() / "logits-24.npy")) return;
  EXPECT_LT(Distance(Logits(model, 24, 24), Expected("logits-24.npy")), kAllowed);
  EXPECT_EQ(Logits(model, 24, 5), Logits(model, 24, 24));
}

TEST_P(ArchitecturesTest, ReadsTheConfigOfTransformers4Alike) {
  const Checkpoint folder = OpenCheckpoint(Folder());
  EXPECT_EQ(Said(WithConfig(folder, ReadBytes(Folder() / "config-4.json"))), Said(folder));
}

TEST_P(ArchitecturesTest, GoesToGgufAndBackBitForBit) {
  Convert(Folder(), Out("model.gguf"), {});
  const Checkpoint gguf = OpenCheckpoint(Out("model.gguf"));
  EXPECT_LT(Distance(Logits(Load(gguf), kTokens, kTokens), Expected()), kAllowed);

  ConvertOptions options;
  options.container = "safetensors";
  Convert(Out("model.gguf"), Out("again"), options);
  const Checkpoint before = OpenCheckpoint(Folder()), after = OpenCheckpoint(Out("again"));
  EXPECT_EQ(Said(after), Said(before));
  ASSERT_EQ(after.tensors.size(), before.tensors.size());
  for (const Tensor& tensor : before.tensors) {
    const Tensor& other = after.Get(tensor.name);
    EXPECT_EQ(other.grid, tensor.grid) << tensor.name;
    EXPECT_EQ(other.shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(other.data, tensor.data)) << tensor.name;
  }
  const Json was = ParseJson(before.documents.at("config.json"), "before");
  const Json is = ParseJson(after.documents.at("config.json"), "after");
  EXPECT_EQ(is["architectures"], was["architectures"]);
  EXPECT_EQ(is["model_type"], was["model_type"]);
}

// A folder that becomes a folder keeps its tensors: norms without GGUF's offset, experts apart.
TEST_P(ArchitecturesTest, StaysAsItIsFromFolderToFolder) {
  ConvertOptions options;
  options.container = "safetensors";
  Convert(Folder(), Out("again"), options);
  const Checkpoint before = OpenCheckpoint(Folder()), after = OpenCheckpoint(Out("again"));
  ASSERT_EQ(after.tensors.size(), before.tensors.size());
  for (const Tensor& tensor : before.tensors) {
    EXPECT_TRUE(std::ranges::equal(after.Get(tensor.name).data, tensor.data)) << tensor.name;
  }
  EXPECT_EQ(after.documents.at("config.json"), before.documents.at("config.json"));
}

TEST_P(ArchitecturesTest, GivesTheSameBitsInABatch) {
  const auto model = Load(OpenCheckpoint(Folder()));
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  const std::vector<int32_t> tokens = Tokens(vocabulary);
  // Several sequences that are at different places of the text; contexts on both sides of phi3's.
  const std::pair<int64_t, int64_t> places[] = {{1, 48}, {23, 24}, {40, 48}, {11, 32}};
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Batch::Part> steps;
  std::vector<float> expected;
  for (const auto& [position, context] : places) {
    Session alone(model, context);
    std::vector<float> logits(static_cast<size_t>(vocabulary));
    alone.Append(std::span(tokens).first(position + 1), 1, logits.data());
    expected.insert(expected.end(), logits.begin(), logits.end());
    sessions.push_back(std::make_unique<Session>(model, context));
    sessions.back()->Append(std::span(tokens).first(position), 1, logits.data());
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    steps.push_back({sessions[i].get(), std::span(tokens).subspan(places[i].first, 1)});
  }
  Batch batch(model, 64);
  std::vector<float> logits(expected.size());
  batch.Step(steps, logits.data());
  EXPECT_EQ(logits, expected);
}

// Rounded activations and rounded caches change something, but not what is computed.
TEST_P(ArchitecturesTest, SurvivesRounding) {
  const auto model = Load(OpenCheckpoint(Folder()));
  // A token may go to another expert.
  const double allowed = model->weights.parameters.experts > 0 ? 0.2 : 0.06;
  EXPECT_LT(Distance(Logits(model, kTokens, 5, GridNamed("q8_0")), Expected()), allowed);
  EXPECT_LT(Distance(Logits(model, kTokens, 5, GridNamed("f16")), Expected()), 1e-3);
  QuantizeOptions options;
  options.grid = "q8_0";
  options.method = "rtn";
  Quantize(Folder(), Out("q8.gguf"), options);
  const auto rounded = OpenCheckpoint(Out("q8.gguf"));
  const std::vector<float> exact = Logits(Load(rounded), kTokens, kTokens);
  EXPECT_LT(Distance(exact, Expected()), allowed);
  EXPECT_LT(Distance(Logits(Load(rounded, Activations::kInt8), kTokens, kTokens), exact), allowed);
}

INSTANTIATE_TEST_SUITE_P(All, ArchitecturesTest, testing::ValuesIn(Names()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

// ---- forms in which the same model comes ----

void ExpectSameLogits(const Checkpoint& checkpoint, const std::string& name) {
  const auto expected = ParseNpy(ReadBytes(Models() / name / "logits.npy")).values;
  EXPECT_LT(Distance(Logits(Load(checkpoint), kTokens, kTokens), expected), kAllowed);
}

// As the two ways in which models of text and images name their text model's tensors.
TEST(ArchitectureFormsTest, FindsTheTextModelOfGemma3) {
  const Checkpoint folder = OpenCheckpoint(Models() / "gemma3");
  Json text = ParseJson(folder.documents.at("config.json"), "config");
  text.erase("architectures");
  const Json nested = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                       {"model_type", "gemma3"},
                       {"text_config", text},
                       {"vision_config", {{"hidden_size", 8}}}};
  for (const auto& [before, after] :
       {std::pair("language_model.model.", "vision_tower.vision_model.head.weight"),
        std::pair("model.language_model.",
                  "model.multi_modal_projector.mm_soft_emb_norm.weight")}) {
    Checkpoint other = WithConfig(folder, nested.dump());
    for (Tensor& tensor : other.tensors) {
      tensor.name.replace(0, std::string("model.").size(), before);
    }
    other.tensors.push_back(MakeF32Tensor(after, {2}, std::vector<float>{1, 2}));
    ExpectSameLogits(other, "gemma3");
  }
}

// transformers 5 keeps a layer's experts in two tensors; saved by some versions as they are.
TEST(ArchitectureFormsTest, FindsExpertsInTwoTensors) {
  const Checkpoint folder = OpenCheckpoint(Models() / "qwen3moe");
  const Hyperparameters p = ReadHyperparameters(folder, ArchitectureOf(folder));
  Checkpoint stacked = folder;
  std::erase_if(stacked.tensors,
                [](const Tensor& t) { return t.name.find(".experts.") != std::string::npos; });
  for (int64_t l = 0; l < p.layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".mlp.experts.";
    std::vector<uint8_t> gate_up, down;
    for (int64_t e = 0; e < p.experts; ++e) {
      const auto append = [&](std::vector<uint8_t>& to, const char* part) {
        const Tensor& tensor = folder.Get(prefix + std::to_string(e) + part);
        to.insert(to.end(), tensor.data.begin(), tensor.data.end());
      };
      append(gate_up, ".gate_proj.weight");
      append(gate_up, ".up_proj.weight");
      append(down, ".down_proj.weight");
    }
    const Grid& grid = *folder.tensors.front().grid;
    stacked.tensors.push_back(MakeTensor(prefix + "gate_up_proj", grid,
                                         {p.experts, 2 * p.expert.feed_forward, p.width}, gate_up));
    stacked.tensors.push_back(
        MakeTensor(prefix + "down_proj", grid, {p.experts, p.width, p.expert.feed_forward}, down));
  }
  ExpectSameLogits(stacked, "qwen3moe");
}

TEST(ArchitectureFormsTest, RefusesWhatItCannotCompute) {
  const auto refuses = [](const char* name, const Json& changes, const std::string& why) {
    const Checkpoint folder = OpenCheckpoint(Models() / name);
    Json config = ParseJson(folder.documents.at("config.json"), "config");
    config.update(changes);
    ExpectError(Error::Kind::kUnsupported, why, [&] {
      const Checkpoint other = WithConfig(folder, config.dump());
      ReadHyperparameters(other, ArchitectureOf(other));
    });
  };
  refuses("qwen2", {{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}}}},
          "rope scaling 'yarn'");
  refuses("llama", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor");
  refuses("qwen3moe", {{"mlp_only_layers", {0}}}, "layers without experts");
  refuses("gemma3", {{"use_bidirectional_attention", true}}, "later tokens");
  refuses("gemma2", {{"hidden_activation", "gelu"}}, "activation \"gelu\"");
  refuses("gemma3", {{"layer_types", {"chunked_attention"}}}, "\"chunked_attention\"");
  refuses("llama", {{"architectures", {"CohereForCausalLM"}}}, "'CohereForCausalLM'");
}

TEST(ArchitectureFormsTest, NamesAMissingExpert) {
  Checkpoint folder = OpenCheckpoint(Models() / "mixtral");
  const std::string missing = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
  std::erase_if(folder.tensors, [&](const Tensor& t) { return t.name == missing; });
  const Architecture& architecture = ArchitectureOf(folder);
  const Hyperparameters p = ReadHyperparameters(folder, architecture);
  ExpectError(Error::Kind::kFormat, "expert 2 of 'blk.1.ffn_up_exps.weight' is missing",
              [&] { GgufTensors(folder, architecture, p); });
  ExpectError(Error::Kind::kFormat, missing, [&] { Load(folder); });
}

}  // namespace
}  // namespace halftone
