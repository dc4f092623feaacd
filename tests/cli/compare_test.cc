// Comparisons: what the report says of each variant, and what is left beside it.

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

using Arguments = std::vector<std::string>;

class CompareTest : public TinyModelTest {
 protected:
  Arguments Compare(const std::string& grids) const {
    return {"compare",         model_, "--text",   text_,         "--context", "32",
            "--grids",         grids,  "--chunks", "2",           "--prompt",  "the",
            "--sample-tokens", "1",    "-o",       Path("report")};
  }

  int64_t FilesOfReport() const {
    return std::distance(fs::directory_iterator(Path("report")), fs::directory_iterator());
  }
};

TEST_F(CompareTest, WritesAReport) {
  const Arguments arguments = {"compare",  model_,        "--text",          text_,
                               "--grids",  "q8_0,q4_0",   "--context",       "64",
                               "--chunks", "2",           "--calibration",   text_,
                               "--prompt", "the wing",    "--sample-tokens", "4",
                               "-o",       Path("report")};
  const json report = Json(arguments);
  const json file = json::parse(ReadBytes(Path("report/report.json")));
  EXPECT_TRUE(report == file);
  // The reference, and each grid by each method that it knows.
  std::vector<std::string> names;
  double last = 0;
  for (const auto& row : report["rows"]) {
    names.push_back(row["name"]);
    EXPECT_EQ(row["samples"].size(), 1u);
    EXPECT_GT(row["generation_tps"], 0);
    if (row["method"] != "rtn") continue;
    EXPECT_GT(row["kld_mean"], last) << names.back();
    last = row["kld_mean"];
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("reference (f32)", "q8_0 rtn", "q4_0 rtn",
                                                   "q4_0 imatrix"));
  const std::string csv = ReadBytes(Path("report/report.csv"));
  EXPECT_EQ(std::ranges::count(csv, '\n'), static_cast<int64_t>(names.size()) + 1);
  EXPECT_THAT(ReadBytes(Path("report/report.html")), HasSubstr("q4_0 imatrix"));
  // The models were for this only.
  EXPECT_EQ(FilesOfReport(), 3);
}

TEST_F(CompareTest, KeepsModelsWhereAsked) {
  const Finished run =
      Halftone({"compare", model_, "--text", text_, "--grids", "q8_0", "--context", "32",
                "--chunks", "2", "--sample-tokens", "1", "--keep", "-o", Path("report")});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("reference (f32)"), HasSubstr("* q8_0")));
  EXPECT_THAT(run.err, HasSubstr("wrote " + Path("report") + "/report.html"));
  int models = 0;
  for (const auto& entry : fs::directory_iterator(Path("report"))) {
    models += entry.path().extension() == ".gguf";
  }
  EXPECT_EQ(models, 1);
}

// Grids in groups make folders. What a matrix costs is known of their definitions: the bits of a
// code, and a scale of so many bits for so many weights; so is what uniformly distributed weights
// lose, whose steps are 2 / (levels - 1) of their range.
TEST_F(CompareTest, MakesFoldersOfGridsInGroups) {
  struct Expected {
    double bits;
    double relative_error;  // 0: the levels are not evenly spaced
    const char* folder;
    const char* quant_method;
  };
  const std::map<std::string, Expected> expected = {
      {"int4:g128", {4 + 16.0 / 128, 1.0 / 15, "int4-g128-rtn", "gptq"}},
      {"nf4:g64", {4 + 32.0 / 64, 0, "nf4-g64-rtn", "bitsandbytes"}},
      {"int8:row", {8 + 16.0 / 256, 1.0 / 255, "int8-row-rtn", "gptq"}}};
  double count = 0, linear = 0;
  for (const auto& [name, shape] : TinyModel().Tensors()) {
    const auto weights = static_cast<double>(TinyModel::Count(shape));
    count += weights;
    if (name.starts_with("blk.") && shape.size() == 2) linear += weights;
  }
  EXPECT_EQ(Json(Compare("int4:g128"))["rows"].size(), 2u);
  EXPECT_EQ(FilesOfReport(), 3);  // the folder is gone

  Arguments arguments = Compare("int4:g128,nf4:g64,int8:row");
  arguments.push_back("--keep");
  const json report = Json(arguments);
  ASSERT_EQ(report["rows"].size(), 4u);
  EXPECT_EQ(FilesOfReport(), 6);
  for (const json& row : report["rows"]) {
    if (row["is_reference"]) continue;
    SCOPED_TRACE(row["grid"]);
    const Expected& known = expected.at(row["grid"]);
    const std::string folder = Path("report/") + known.folder;
    EXPECT_NEAR(row["bits_per_weight"], (known.bits * linear + 32 * (count - linear)) / count,
                1e-9);
    EXPECT_EQ(row["errors"].size(), 7u);
    for (const json& error : row["errors"]) {
      if (known.relative_error == 0) continue;
      EXPECT_NEAR(error["relative_error"].get<double>() / known.relative_error, 1, 0.02);
    }
    EXPECT_EQ(row["file_bytes"], fs::file_size(folder + "/model.safetensors"));
    EXPECT_EQ(
        json::parse(ReadBytes(folder + "/config.json"))["quantization_config"]["quant_method"],
        known.quant_method);
    // The folder is the model that was measured.
    const json alone = Json({"evaluate", folder, "--reference", model_, "--text", text_,
                             "--context", "32", "--chunks", "2"});
    EXPECT_GT(row["kld_mean"], 0);
    EXPECT_EQ(row["kld_mean"], alone["kld_mean"]);
  }
}

// A file lies where the folder should, or above it; nothing was measured and nothing is written.
TEST_F(CompareTest, RefusesFoldersThatCannotBeMade) {
  const auto files = folder_.Files();
  const std::string text = ReadBytes(text_);
  for (const std::string& output : {text_, text_ + "/report", std::string("/proc/report")}) {
    SCOPED_TRACE(output);
    const Finished run = Halftone({"compare", model_, "--text", text_, "--grids", "int4:g128",
                                   "--context", "32", "-o", output});
    EXPECT_EQ(run.code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, AllOf(StartsWith("halftone: error: " + output + ": cannot create"),
                               MatchesRegex("[^\n]*\n")));
    EXPECT_EQ(folder_.Files(), files);
    EXPECT_EQ(ReadBytes(text_), text);
  }
}

}  // namespace
}  // namespace halftone
