// Looking into files: what is shown of good ones, and that broken ones give one line, at once. The
// verdicts on the broken ones are those of the programs that own the formats.

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/cli/npy.h"
#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

constexpr double kAtOnce = 2;  // seconds

// Fails at once in one line that names the file.
void ExpectBroken(const std::vector<std::string>& arguments, const std::string& file) {
  const Finished run = Halftone(arguments);
  EXPECT_EQ(run.code, 1) << "signal " << run.signal << ", " << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err,
              AllOf(StartsWith("halftone: error: "), HasSubstr(file), MatchesRegex("[^\n]*\n")));
  EXPECT_LT(run.cpu_seconds, kAtOnce);
}

class InspectTest : public TinyModelTest {};

TEST_F(InspectTest, ShowsWhatTheFileHolds) {
  const Finished run = Halftone({"inspect", model_});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out.find('\033'), std::string::npos);
  EXPECT_THAT(run.out, HasSubstr("llama.embedding_length                  u32     256\n"));
  EXPECT_THAT(run.out, HasSubstr("blk.0.attn_k.weight       [128, 256]  F32   32.000   131 kB\n"));
  EXPECT_THAT(run.out, HasSubstr(", 32.000 bits per weight\n"));
}

TEST_F(InspectTest, WritesATensorForNumpy) {
  for (const auto& [name, shape] : TinyModel().Tensors()) {
    const std::string tensor = name + ".weight";
    const Finished run =
        Halftone({"inspect", model_, "--tensor", tensor, "--npy", Path("t.npy"), "--json"});
    ASSERT_EQ(run.code, 0) << run.err;
    const Npy npy = ParseNpy(ReadBytes(Path("t.npy")));
    EXPECT_EQ(npy.shape, shape);
    const auto values = TinyModel().Values(name, static_cast<int64_t>(TinyModel::Count(shape)));
    EXPECT_EQ(npy.values, values) << name;
    const json report = json::parse(run.out);
    EXPECT_EQ(report["min"].get<float>(), std::ranges::min(values));
    EXPECT_EQ(report["max"].get<float>(), std::ranges::max(values));
  }
}

TEST_F(InspectTest, SuggestsTheNearestTensor) {
  const Finished run = Halftone({"inspect", model_, "--tensor", "blk.0.attn_v.weigth"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("did you mean 'blk.0.attn_v.weight'?"));
}

// Any architecture can be looked into; running it is refused by name.
TEST_F(InspectTest, LooksIntoUnknownArchitectures) {
  TinyModel other;
  other.architecture = "mamba";
  const std::string file = Write("mamba.gguf", other.Bytes());
  EXPECT_EQ(Halftone({"inspect", file}).code, 0);
  EXPECT_EQ(Halftone({"inspect", file, "--tensor", "output.weight"}).code, 0);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"run", file, "-p", "x"},
        {"evaluate", file, "--text", text_},
        {"bench", file}}) {
    SCOPED_TRACE(arguments[0]);
    ExpectBroken(arguments, file);
    EXPECT_THAT(Halftone(arguments).err, HasSubstr("'mamba'"));
  }
}

// Cut short anywhere, the model is refused by all that reads it, and nothing is written.
TEST_F(InspectTest, RefusesTruncatedModels) {
  const std::string whole = ReadBytes(model_);
  for (const size_t size : {size_t{0}, size_t{3}, size_t{4}, size_t{12}, size_t{24}, size_t{100},
                            size_t{5000}, whole.size() / 2, whole.size() - 32}) {
    SCOPED_TRACE(size);
    ExpectBroken({"inspect", Write("cut.gguf", whole.substr(0, size))}, "cut.gguf");
  }
  const std::string cut = Path("cut.gguf");
  const auto files = folder_.Files();
  ExpectBroken({"quantize", cut, "-o", Path("o.gguf"), "--grid", "q8_0"}, cut);
  ExpectBroken({"convert", cut, "-o", Path("o.gguf")}, cut);
  ExpectBroken({"imatrix", cut, "-o", Path("o.gguf"), "--text", text_}, cut);
  ExpectBroken({"evaluate", cut, "--tokens", "1", "--npy", Path("o.npy")}, cut);
  ExpectBroken({"evaluate", model_, "--text", text_, "--reference", cut}, cut);
  ExpectBroken({"inspect", cut, "--tensor", "output.weight", "--npy", Path("o.npy")}, cut);
  ExpectBroken({"run", cut, "-p", "x"}, cut);
  ExpectBroken({"tokenize", cut, "--text", "x"}, cut);
  ExpectBroken({"plan", cut}, cut);
  ExpectBroken({"bench", cut}, cut);
  EXPECT_EQ(folder_.Files(), files);
}

TEST_F(InspectTest, RefusesWhatIsNoModel) {
  ExpectBroken({"inspect", Path("absent.gguf")}, "absent.gguf");
  ExpectBroken({"inspect", text_}, text_);
  std::filesystem::create_directory(Path("empty"));
  ExpectBroken({"inspect", Path("empty")}, "empty");
  ExpectBroken({"inspect", "/dev/null"}, "/dev/null");
  ExpectBroken({"inspect", Write("list.json", "[1, 2]")}, "list.json");
}

// ---- The formats' owners ----

void ExpectVerdict(const std::string& file, const std::string& verdict) {
  SCOPED_TRACE(file);
  if (verdict.starts_with("REJECT")) return ExpectBroken({"inspect", file}, file);
  const Finished run = Halftone({"inspect", file});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_LT(run.cpu_seconds, kAtOnce);
}

TEST_F(InspectTest, AgreesWithGgmlOnEdgeCases) {
  HALFTONE_NEED_SHARED("fixtures/gguf-edge/verdicts.json");
  const auto folder = SharedPath("fixtures/gguf-edge");
  const json verdicts = json::parse(ReadBytes(folder / "verdicts.json"));
  for (const auto& [name, verdict] : verdicts["cases"].items()) {
    // Where only padding is missing, llama.cpp's model loader and gguf-py read the file.
    const bool padding = name == "data-last-pad-missing";
    ExpectVerdict((folder / (name + ".gguf")).string(),
                  verdict[padding ? "ggml_meta_only" : "ggml_with_data"]);
  }
  EXPECT_EQ(verdicts["cases"].size(), 39u);
}

// What the library opens but no model holds twice.
const std::map<std::string, std::string> kStricter = {{"dup-key", "occurs twice"}};
// Dtypes that no model of plain weights holds: listed, and not taken for numbers.
const std::map<std::string, std::string> kListed = {
    {"ok-u64", "dtype U64 is not supported"},
    {"e8m0-dtype", "dtype F8_E8M0 is not supported"},
    {"f6-dtype", "dtype F6_E2M3 is not supported"},
};

TEST_F(InspectTest, AgreesWithSafetensorsOnEdgeCases) {
  HALFTONE_NEED_SHARED("fixtures/safetensors-edge/verdicts.json");
  const auto folder = SharedPath("fixtures/safetensors-edge");
  const json verdicts = json::parse(ReadBytes(folder / "verdicts.json"));
  for (const auto& [name, verdict] : verdicts["cases"].items()) {
    const std::string file = (folder / (name + ".safetensors")).string();
    const auto stricter = kStricter.find(name);
    ExpectVerdict(file, stricter == kStricter.end() ? verdict.get<std::string>() : "REJECT");
    if (stricter != kStricter.end()) {
      EXPECT_THAT(Halftone({"inspect", file}).err, HasSubstr(stricter->second));
    }
    if (const auto listed = kListed.find(name); listed != kListed.end()) {
      EXPECT_THAT(Halftone({"inspect", file}).out, HasSubstr(listed->second));
      const json tensors = Json({"inspect", file})["tensors"];
      ASSERT_FALSE(tensors.empty());
      ExpectBroken({"inspect", file, "--tensor", tensors[0]["name"]}, file);
    }
  }
  EXPECT_EQ(verdicts["cases"].size(), 26u);
}

}  // namespace
}  // namespace halftone
