// The files and folders that people have: whatever lies in one, looking into it says what it is, or
// the error does, and what can be done about it. Where that is no model, running, quantizing and
// converting it say so, too.

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/hf_folder.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

// A GGUF file of settings that are strings, and one tensor of a row of 32 f32.
std::string GgufOf(const std::vector<std::pair<std::string, std::string>>& settings,
                   const std::string& tensor) {
  ByteBuilder file;
  file.Gguf(tensor.empty() ? 0 : 1, settings.size());
  for (const auto& [key, value] : settings) file.Text(key).U32(8).Text(value);
  if (tensor.empty()) return file.bytes();
  return file.GgufTensor(tensor, {32}, 0, 0).PadTo(32).Zeros(32 * 4).bytes();
}

class InspectFilesTest : public TinyModelTest {
 protected:
  std::string Folder(const std::string& name) const {
    fs::create_directories(Path(name));
    return Path(name);
  }

  // The folder of small-bf16 with a changed config.json.
  template <class F>
  std::string Small(const std::string& name, F&& change) const {
    const fs::path folder = Folder(name);
    for (const auto& entry : fs::directory_iterator(SharedPath("fixtures/small-bf16"))) {
      fs::create_symlink(fs::canonical(entry.path()), folder / entry.path().filename());
    }
    json config = json::parse(ReadBytes(folder / "config.json"));
    change(config);
    fs::remove(folder / "config.json");
    Write(name + "/config.json", config.dump());
    return folder;
  }

  // Opens, is of this kind, and says `advice`; and no command takes it for a model.
  void ExpectKind(const std::string& path, const std::string& kind, const std::string& advice) {
    SCOPED_TRACE(path);
    const json report = Json({"inspect", path});
    EXPECT_EQ(report["kind"], kind);
    EXPECT_THAT(report["notes"].dump(), HasSubstr(advice));
    EXPECT_THAT(Halftone({"inspect", path}).out, HasSubstr("Note: " + kind + ": "));
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"run", path, "-p", "x"},
          {"evaluate", path, "--text", text_},
          {"quantize", path, "--grid", "q8_0", "-o", Path("out.gguf")},
          {"convert", path, "-o", Path("out.gguf")}}) {
      const Finished run = Halftone(arguments);
      EXPECT_EQ(run.code, 1) << arguments[0];
      EXPECT_THAT(run.err, HasSubstr(kind)) << arguments[0];
      EXPECT_THAT(run.err, HasSubstr(advice)) << arguments[0];
    }
    EXPECT_FALSE(Exists("out.gguf"));
  }

  // In one line that names the file and says so.
  void ExpectRefused(const std::string& path, const std::string& file, const std::string& part) {
    SCOPED_TRACE(path);
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"inspect", path}, {"run", path, "-p", "x"}}) {
      const Finished run = Halftone(arguments);
      EXPECT_EQ(run.code, 1) << run.err;
      EXPECT_THAT(run.err, AllOf(StartsWith("halftone: error: "), HasSubstr(file), HasSubstr(part),
                                 MatchesRegex("[^\n]*\n")));
    }
  }
};

TEST_F(InspectFilesTest, SaysWhatIsNoModel) {
  ExpectKind(Write("adapter.gguf", GgufOf({{"general.architecture", "llama"},
                                           {"general.type", "adapter"},
                                           {"adapter.type", "lora"}},
                                          "blk.0.attn_q.weight.lora_a")),
             "LoRA adapter", "--adapter");
  ExpectKind(Write("imatrix.gguf", GgufOf({{"general.type", "imatrix"}}, "blk.0.x.in_sum2")),
             "importance matrix", "quantize --imatrix");
  ExpectKind(Write("untyped.gguf", GgufOf({}, "blk.0.attn_q.weight.in_sum2")), "importance matrix",
             "quantize --imatrix");
  ExpectKind(
      Write("control.gguf", GgufOf({{"general.architecture", "controlvector"}}, "direction.1")),
      "control vector", "another model");
  ExpectKind(Write("vocab.gguf",
                   GgufOf({{"general.architecture", "llama"}, {"general.type", "vocab"}}, "")),
             "vocabulary without weights", "tokenize");
}

// A projector is no model, but its weights can be rounded like one's.
TEST_F(InspectFilesTest, SaysWhatAProjectorIs) {
  const std::string file = Write(
      "mmproj.gguf",
      GgufOf({{"general.architecture", "clip"}, {"general.type", "mmproj"}}, "v.blk.0.weight"));
  EXPECT_EQ(Json({"inspect", file})["kind"], "projector for images or sound (mmproj)");
  const Finished run = Halftone({"run", file, "-p", "x"});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err, HasSubstr("goes with a text model"));
  EXPECT_EQ(Halftone({"convert", file, "-o", Path("copy.gguf")}).code, 0);
}

TEST_F(InspectFilesTest, ReadsWhatPeersWroteBesideModels) {
  HALFTONE_NEED_SHARED("fixtures/tiny-lora-adapter");
  ExpectKind(SharedPath("fixtures/tiny-lora-gguf/adapter.gguf"), "LoRA adapter", "--adapter");
  ExpectKind(SharedPath("fixtures/imatrix/model.imatrix.gguf"), "importance matrix", "--imatrix");
  const std::string folder = SharedPath("fixtures/tiny-lora-adapter");
  ExpectKind(folder, "LoRA adapter", "--adapter");
  // Rank and scale are in peft's own settings.
  EXPECT_THAT(Json({"inspect", folder})["metadata"].dump(), HasSubstr("\"lora_alpha\""));
  ExpectRefused(SharedPath("fixtures/imatrix/model.imatrix.dat"), "model.imatrix.dat",
                "is an importance matrix in llama.cpp's older layout");
}

TEST_F(InspectFilesTest, ReadsConfigurationsOfEitherTransformers) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  const auto logits = [&](const std::string& folder) {
    const Finished run = Halftone(
        {"evaluate", folder, "--tokens", "1,2,3", "--npy", Path("logits.npy"), "--threads", "1"});
    EXPECT_EQ(run.code, 0) << run.err;
    return ReadBytes(Path("logits.npy"));
  };
  const std::string expected = logits(SharedPath("fixtures/small-bf16"));
  const auto same = [&](const std::string& folder) {
    EXPECT_EQ(Json({"inspect", folder})["notes"], json::array()) << folder;
    EXPECT_EQ(logits(folder), expected) << folder;
  };
  json rope;
  same(Small("transformers-4", [&](json& config) {
    const json five = config.value("rope_parameters", json::object());
    rope = five.value("rope_theta", config.value("rope_theta", json(10000.0)));
    for (const char* key : {"rope_parameters", "dtype"}) config.erase(key);
    config["rope_theta"] = rope;
    config["torch_dtype"] = "bfloat16";
  }));
  same(Small("transformers-5", [&](json& config) {
    for (const char* key : {"rope_theta", "rope_scaling", "torch_dtype"}) config.erase(key);
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", rope}};
    config["dtype"] = "bfloat16";
  }));
  same(Small("no-head-dim", [](json& config) { config.erase("head_dim"); }));
}

TEST_F(InspectFilesTest, ListsWhatNobodyHereRuns) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  const std::string unknown =
      Small("unknown", [](json& config) { config["architectures"] = {"SomeForCausalLM"}; });
  const std::string method = Small("method", [](json& config) {
    config["quantization_config"] = {{"quant_method", "hqq"}, {"bits", 4}};
  });
  for (const auto& [folder, part] : {std::pair{unknown, "'SomeForCausalLM' is not supported"},
                                     {method, "quantized by 'hqq', which is not read"}}) {
    const json report = Json({"inspect", folder});
    EXPECT_GT(report["tensors"].size(), 10u);
    EXPECT_THAT(report["notes"].dump(), AllOf(HasSubstr("cannot be run"), HasSubstr(part)));
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"run", folder, "-p", "x"},
          {"quantize", folder, "--grid", "q8_0", "-o", Path("out.gguf")}}) {
      const Finished run = Halftone(arguments);
      EXPECT_EQ(run.code, 1);
      EXPECT_THAT(run.err, HasSubstr(part));
    }
  }
}

// GPTQ of a width that is not read, block-scaled FP8, bytes that hold several codes: listed under
// the files' own dtypes.
TEST_F(InspectFilesTest, ListsTensorsThatNobodyHereReads) {
  HandFolder hand;
  hand.tensors["model.layers.0.mlp.up_proj.weight"] = {"F8_E4M3", {2, 4}, std::string(8, '\x38')};
  hand.tensors["model.layers.0.mlp.up_proj.weight_scale_inv"] = {
      "F32", {1, 1}, BytesOf(std::vector<float>{1})};
  hand.config = R"({"architectures": ["LlamaForCausalLM"],
                    "quantization_config": {"quant_method": "fp8"}})";
  const TempFolder folder;
  hand.WriteTo(folder);
  const json report = Json({"inspect", folder.path()});
  EXPECT_EQ(report["tensors"][0]["grid"], "F8_E4M3");
  EXPECT_EQ(report["tensors"][0]["bytes"], 8);
  EXPECT_EQ(report["tensors"][0]["bits_per_weight"], 8.0);
  EXPECT_THAT(report["notes"].dump(), AllOf(HasSubstr("as they lie in the files"),
                                            HasSubstr("'fp8' quantized it, which is not read")));
  const Finished run = Halftone({"run", folder.path(), "-p", "x"});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err, HasSubstr("'fp8' quantized it"));
}

TEST_F(InspectFilesTest, NamesTensorsWithoutAPlace) {
  TinyModel model;
  const auto notes = [&](const std::string& bytes) {
    return Json({"inspect", Write("stray.gguf", bytes)})["notes"].dump();
  };
  EXPECT_EQ(notes(model.Bytes()), "[]");
  std::string bytes = model.Bytes();
  // Names of the same length, so that the rest of the file stays.
  for (size_t at; (at = bytes.find("blk.0.ffn_up.weight")) != std::string::npos;) {
    bytes.replace(at, 19, "blk.0.other_.weight");
  }
  EXPECT_THAT(notes(bytes), HasSubstr("1 tensor is not part of architecture 'llama', "
                                      "'blk.0.other_.weight' the first"));
}

TEST_F(InspectFilesTest, SaysWhatLiesInAModelsPlace) {
  const std::string lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n";
  for (const char* name : {"lfs.gguf", "lfs.safetensors", "lfs.bin", "lfs"}) {
    ExpectRefused(Write(name, lfs), name, "fetch it with 'git lfs pull'");
  }
  ExpectRefused(Write("page.gguf", "<!DOCTYPE html><html>"), "page.gguf", "is a web page");
  ExpectRefused(Write("old.bin", "tjgg" + std::string(100, '\1')), "old.bin", "before GGUF");
  ExpectRefused(Write("a.zip", "PK\x03\x04" + std::string(100, '\1')), "a.zip", "zip archive");
  ExpectRefused(Write("a.gguf.gz", "\x1F\x8B" + std::string(100, '\1')), "a.gguf.gz", "compressed");
  ExpectRefused(Write("zeros.gguf", std::string(1000, '\0')), "zeros.gguf", "ended early");
  ExpectRefused(Write("nothing.gguf", ""), "nothing.gguf", "is empty");
  ExpectRefused(Write("graph.onnx", "\x08\x07onnx"), "graph.onnx", "ONNX");
  HandFolder hand;
  ExpectRefused(Write("weights", hand.Safetensors()), "weights", "rename it");
  Write(Folder("config") + "/config.json", "{}");
  ExpectRefused(Path("config/config.json"), "config.json", "name the folder around it");
}

TEST_F(InspectFilesTest, SaysWhatAFolderLacks) {
  Write("config.json", "{}");
  const std::string pickle = "PK\x03\x04" + std::string(100, '\1');
  fs::remove(Path("config.json"));
  fs::create_directory(Path("pickled"));
  Write("pickled/config.json", "{}");
  ExpectRefused(Path("pickled"), "pickled", "the weights are missing");
  Write("pickled/tf_model.h5", "\x89HDF");
  ExpectRefused(Path("pickled"), "tf_model.h5", "save them as safetensors");
  Write("pickled/pytorch_model.bin", pickle);
  ExpectRefused(Path("pickled"), "pytorch_model.bin", "save_pretrained(NEW_FOLDER)");

  ExpectRefused(Folder("empty"), "empty", "no config.json and no weights");
  fs::create_directory(Path("ggufs"));
  fs::copy(model_, Path("ggufs/a.gguf"));
  ExpectRefused(Path("ggufs"), "ggufs", "name one: " + Path("ggufs/a.gguf"));
  fs::create_directories(Path("outer/inner"));
  Write("outer/inner/config.json", "{}");
  ExpectRefused(Path("outer"), "outer", Path("outer/inner"));
  fs::create_directories(Path("models--a--b/snapshots"));
  ExpectRefused(Path("models--a--b"), "models--a--b", "snapshots/");
}

TEST_F(InspectFilesTest, OpensAFoldersOnlyWeights) {
  HandFolder hand;
  hand.tensors["a"] = {"F32", {1}, BytesOf(std::vector<float>{1})};
  fs::create_directory(Path("folder"));
  Write("folder/consolidated.safetensors", hand.Safetensors());
  EXPECT_EQ(Json({"inspect", Path("folder")})["tensors"].size(), 1u);
  Write("folder/model-00001-of-00002.safetensors", hand.Safetensors());
  const Finished run = Halftone({"inspect", Path("folder")});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr("2 .safetensors files but no model.safetensors.index.json"),
                             HasSubstr("consolidated.safetensors")));
  EXPECT_THAT(Json({"inspect", Path("folder/model-00001-of-00002.safetensors")})["notes"].dump(),
              HasSubstr("one part of a model"));
}

TEST_F(InspectFilesTest, TellsShortDownloads) {
  ExpectRefused(Write("cut.gguf", ReadBytes(model_).substr(0, Size("model.gguf") - 100)),
                "cut.gguf", "the download ended early");
  HandFolder hand;
  hand.tensors["a"] = {"F32", {100}, std::string(400, '\1')};
  const std::string whole = hand.Safetensors();
  ExpectRefused(Write("cut.safetensors", whole.substr(0, whole.size() - 4)), "cut.safetensors",
                "the download ended early");
}

// The tokenizer's file alone can be a pointer, too.
TEST_F(InspectFilesTest, TellsPointersAmongTheDocuments) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  const std::string folder = Small("pointer", [](json&) {});
  fs::remove(folder + "/tokenizer.json");
  Write("pointer/tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
  EXPECT_EQ(Halftone({"inspect", folder}).code, 0);
  const Finished run = Halftone({"tokenize", folder, "--text", "x"});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err, AllOf(HasSubstr("tokenizer.json"), HasSubstr("git lfs pull")));
}

}  // namespace
}  // namespace halftone
