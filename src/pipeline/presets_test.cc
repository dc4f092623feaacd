#include "pipeline/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>

#include "base/json.h"
#include "base/mapped_file.h"
#include "halftone/error.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

using ::testing::HasSubstr;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(c));
  return text;
}

Tensor Named(std::string name, std::vector<int64_t> shape) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.grid = &F32Grid();
  tensor.shape = std::move(shape);
  return tensor;
}

// A model of synthetic tensors and the name of the grid that each got.
struct SyntheticModel {
  ModelShape shape;
  std::vector<Tensor> tensors;

  std::map<std::string, std::string> Choose(const Preset& preset, bool importance) const {
    std::vector<const Tensor*> order;
    for (const Tensor& tensor : tensors) order.push_back(&tensor);
    SortForFile(order);
    const auto choices = ChooseGrids(preset, shape, order, importance);
    std::map<std::string, std::string> grids;
    for (size_t i = 0; i < order.size(); ++i) grids[order[i]->name] = choices[i].grid->name;
    return grids;
  }
};

// A mix or, for plain types, what stands for the one grid. Mixes of grids that can only be read are
// included: the rules hold all the same.
const Preset* PresetOf(const std::string& file_type) {
  const std::string name = Lower(file_type);
  const auto mix = std::ranges::find(AllMixes(), name, &Preset::name);
  return mix != AllMixes().end() ? &*mix : FindPreset(name);
}

// "q6_K*2,q4_K" -> {q6_K, q6_K, q4_K}.
std::vector<std::string> Expand(const std::string& runs) {
  std::vector<std::string> types;
  size_t begin = 0;
  while (begin < runs.size()) {
    const size_t end = std::min(runs.find(',', begin), runs.size());
    const std::string run = runs.substr(begin, end - begin);
    const size_t star = run.find('*');
    const int count = star == std::string::npos ? 1 : std::stoi(run.substr(star + 1));
    types.insert(types.end(), count, run.substr(0, star));
    begin = end + 1;
  }
  return types;
}

// The types that llama-quantize gave, by full tensor name.
std::map<std::string, std::string> ExpectedTypes(const Json& kinds) {
  std::map<std::string, std::string> types;
  for (const auto& [kind, runs] : kinds.items()) {
    const std::vector<std::string> each = Expand(runs.get<std::string>());
    if (kind == "output.weight" || kind == "token_embd.weight") {
      types[kind] = each.at(0);
    } else {
      for (size_t layer = 0; layer < each.size(); ++layer) {
        types["blk." + std::to_string(layer) + "." + kind] = each[layer];
      }
    }
  }
  return types;
}

SyntheticModel ModelFor(const Json& parameters, const Json& kinds) {
  SyntheticModel model;
  model.shape.architecture = parameters.at("arch").get<std::string>();
  model.shape.layers = parameters.at("L").get<int64_t>();
  model.shape.heads = parameters.at("nh").get<int64_t>();
  model.shape.kv_heads = parameters.at("nkv").get<int64_t>();
  model.shape.experts = parameters.value("E", 0);
  model.shape.tied = parameters.value("tied", false);
  for (const auto& [name, type] : ExpectedTypes(kinds)) {
    const bool down = name.find("ffn_down") != std::string::npos;
    std::vector<int64_t> shape = {512, parameters.value(down ? "ff" : "embd", 256)};
    if (name.find("_exps") != std::string::npos) shape.insert(shape.begin(), model.shape.experts);
    model.tensors.push_back(Named(name, shape));
  }
  return model;
}

struct Counts {
  int64_t files = 0;
  int64_t tensors = 0;
};

// Compares with what llama-quantize --dry-run reported.
Counts CompareWithLlamaQuantize(const Json& models) {
  Counts counts;
  for (const auto& [model_name, model] : models.items()) {
    for (const auto& [type, cases] : model.at("ftypes").items()) {
      for (const auto& [importance, kinds] : cases.items()) {
        const auto expected = ExpectedTypes(kinds);
        const SyntheticModel synthetic = ModelFor(model.at("params"), kinds);
        const Preset* preset = PresetOf(type);
        if (preset == nullptr) {
          ADD_FAILURE() << "no preset " << type;
          continue;
        }
        for (const bool has_importance : {false, true}) {
          if (importance != "both" && (importance == "im") != has_importance) continue;
          const auto chosen = synthetic.Choose(*preset, has_importance);
          for (const auto& [name, grid] : expected) {
            EXPECT_EQ(chosen.at(name), Lower(grid))
                << model_name << " " << type << " " << importance << " " << name;
            ++counts.tensors;
          }
          ++counts.files;
        }
      }
    }
  }
  return counts;
}

// 32 file types, 6 model shapes, with and without importances.
TEST(PresetsTest, ChooseAsLlamaQuantizeForItsMixes) {
  const char* file = "fixtures/gguf-mix-types/mix.json";
  HALFTONE_NEED_SHARED(file);
  const Counts counts =
      CompareWithLlamaQuantize(ParseJson(ReadTextFile(SharedPath(file)), file).at("models"));
  EXPECT_EQ(counts.files, 384);
  RecordProperty("tensors", std::to_string(counts.tensors));
}

// Rows that are no whole number of blocks, falcon, 4 experts; made with llama-quantize --dry-run of
// llama.cpp llama-cpp-python 0.3.36 on GGUF files of zeros.
TEST(PresetsTest, FallBackAsLlamaQuantize) {
  const std::string file = SourcePath("src/pipeline/testdata/fallback_types.json");
  const Counts counts = CompareWithLlamaQuantize(ParseJson(ReadTextFile(file), file));
  EXPECT_GT(counts.files, 0);
}

SyntheticModel SmallLlama() {
  SyntheticModel model;
  model.shape = {"llama", 2, 4, 4, 0, false};
  for (const char* name : {"token_embd.weight", "output.weight"}) {
    model.tensors.push_back(Named(name, {512, 256}));
  }
  model.tensors.push_back(Named("output_norm.weight", {256}));
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_down"}) {
      model.tensors.push_back(Named(layer + name + ".weight", {256, 256}));
    }
    model.tensors.push_back(Named(layer + "ffn_gate.weight", {256, 172}));
    model.tensors.push_back(Named(layer + "attn_q.bias", {256}));
  }
  return model;
}

// llama-quantize stops with "this quantization requires an imatrix!" for these and no others.
TEST(PresetsTest, RequireImportanceWhereLlamaQuantizeDoes) {
  const std::vector<std::string> refused = {"q2_k_s", "iq1_s", "iq1_m",   "iq2_xxs", "iq2_xs",
                                            "iq2_s",  "iq2_m", "iq3_xxs", "iq3_xs"};
  const SyntheticModel model = SmallLlama();
  std::vector<const Tensor*> tensors;
  for (const Tensor& tensor : model.tensors) tensors.push_back(&tensor);
  SortForFile(tensors);
  for (const Preset& preset : AllPresets()) {
    if (!preset.mix) continue;
    const auto choices = ChooseGrids(preset, model.shape, tensors, false);
    const bool requires_it = std::ranges::any_of(choices, &TensorChoice::needs_importance);
    EXPECT_EQ(requires_it, std::ranges::find(refused, preset.name) != refused.end()) << preset.name;
  }
}

TEST(PresetsTest, OneGridGoesOnEveryMatrix) {
  const SyntheticModel model = SmallLlama();
  for (const Preset& preset : AllPresets()) {
    if (preset.mix) continue;
    const Grid& base = GridNamed(preset.base);
    EXPECT_EQ(preset.base, preset.name);
    for (const auto& [name, grid] : model.Choose(preset, false)) {
      if (name.ends_with("norm.weight") || name.ends_with("bias")) {
        EXPECT_EQ(grid, "f32") << preset.name << " " << name;
      } else if (base.plain) {
        EXPECT_EQ(grid, base.name) << name;
      } else if (name.starts_with("blk.") && name.find("ffn_gate") == std::string::npos) {
        EXPECT_EQ(grid, base.name) << name;
      } else {
        // The output gets at least as many bits; 172 columns are no whole number of blocks.
        EXPECT_GE(GridNamed(grid).bits_per_weight(), base.bits_per_weight()) << name;
      }
    }
  }
}

TEST(PresetsTest, FallbacksSayWhy) {
  const Tensor tensor = Named("blk.0.ffn_gate.weight", {256, 172});
  const std::vector<const Tensor*> tensors = {&tensor};
  const auto choice = ChooseGrids(PresetNamed("q8_0"), {"llama", 1, 1, 1}, tensors, false).at(0);
  EXPECT_EQ(choice.grid->name, "f16");
  EXPECT_EQ(choice.note, "172 columns are no multiple of 32");
}

// Names from llama.cpp's tensor_allows_quantization.
TEST(PresetsTest, LeaveVectorsNormsAndRoutersAlone) {
  const std::vector<Tensor> copied = {
      Named("blk.0.attn_norm.weight", {64, 64}),  Named("blk.0.ffn_gate_inp.weight", {8, 64}),
      Named("blk.0.attn_q.bias", {64, 64}),       Named("blk.0.ssm_conv1d.weight", {64, 4}),
      Named("blk.0.attn_q.weight", {64}),         Named("blk.0.attn_q.weight", {1, 64}),
      Named("position_embd.weight", {64, 64}),    Named("token_types.weight", {2, 64}),
      Named("blk.0.attn_rel_b.weight", {64, 64}),
  };
  for (const Tensor& tensor : copied) {
    const std::vector<const Tensor*> tensors = {&tensor};
    const auto choice = ChooseGrids(PresetNamed("q8_0"), {"bert", 1, 1, 1}, tensors, true).at(0);
    EXPECT_FALSE(choice.quantize) << tensor.name;
    EXPECT_EQ(choice.grid, tensor.grid) << tensor.name;
  }
}

// As llama.cpp's convert_hf_to_gguf.py, whose files hold no vectors of halves.
TEST(PresetsTest, WidenVectorsOfHalves) {
  for (const char* grid : {"f16", "bf16", "f32"}) {
    Tensor tensor = Named("blk.0.attn_norm.weight", {64});
    tensor.grid = FindGrid(grid);
    const std::vector<const Tensor*> tensors = {&tensor};
    const auto choice = ChooseGrids(PresetNamed("q8_0"), {"llama", 1, 1, 1}, tensors, true).at(0);
    EXPECT_EQ(choice.grid->name, "f32");
    EXPECT_EQ(choice.quantize, tensor.grid != &F32Grid());
  }
}

TEST(PresetsTest, NamesAreFoundInEitherCase) {
  EXPECT_EQ(PresetNamed("Q8_0").name, "q8_0");
  EXPECT_EQ(PresetNamed("BF16").gguf_file_type, 32);
  for (const Grid* grid : AllGrids()) {
    EXPECT_EQ(FindPreset(grid->name) != nullptr, grid->writable()) << grid->name;
  }
}

TEST(PresetsTest, UnknownNamesNameTheNearest) {
  try {
    PresetNamed("q8-0");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'q8_0'"));
  }
}

// Numbers in metadata are hostile: none may overflow.
TEST(PresetsTest, HostileShapesAreHarmless) {
  const Tensor tensor = Named("blk.9223372036854775807.ffn_down.weight", {256, 256});
  const std::vector<const Tensor*> tensors = {&tensor};
  for (const int64_t number : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX}) {
    const ModelShape shape = {"llama", number, number, number, number, false};
    for (const Preset& preset : AllPresets()) {
      EXPECT_NE(ChooseGrids(preset, shape, tensors, false).at(0).grid, nullptr);
    }
  }
}

TEST(PresetsTest, SortByLayerThenName) {
  const std::vector<Tensor> tensors = {
      Named("blk.10.a", {1}), Named("output.weight", {1}), Named("blk.2.b", {1}),
      Named("blk.2.a", {1}),  Named("blk.x.a", {1}),       Named("a", {1}),
  };
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : tensors) order.push_back(&tensor);
  SortForFile(order);
  std::vector<std::string> names;
  for (const Tensor* tensor : order) names.push_back(tensor->name);
  EXPECT_THAT(names, ::testing::ElementsAre("a", "blk.x.a", "output.weight", "blk.2.a", "blk.2.b",
                                            "blk.10.a"));
}

}  // namespace
}  // namespace halftone
