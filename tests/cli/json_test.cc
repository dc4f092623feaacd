// --json: one JSON value on stdout and nothing else there, with exactly the keys that the command's
// help names.

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"

namespace halftone {
namespace {

using nlohmann::json;
using testing::UnorderedElementsAreArray;

using Keys = std::vector<std::string>;

Keys KeysOf(const json& object) {
  Keys keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// The words of the help's last paragraphs, from "JSON" on.
std::set<std::string> DocumentedWords(const std::string& command) {
  const std::string help = Halftone({command, "--help"}).out;
  const size_t at = help.find("\nJSON");
  EXPECT_NE(at, std::string::npos) << command;
  static const std::regex word("[a-z0-9_]+");
  std::set<std::string> words;
  for (auto it = std::sregex_iterator(help.begin() + static_cast<ptrdiff_t>(at), help.end(), word);
       it != std::sregex_iterator(); ++it) {
    words.insert(it->str());
  }
  return words;
}

class JsonTest : public TinyModelTest {
 protected:
  // What the command prints; its top keys must be these, and in its help.
  json Run(const std::vector<std::string>& arguments, const Keys& keys) const {
    std::vector<std::string> all = arguments;
    all.push_back("--json");
    const Finished run = Halftone(all);
    EXPECT_EQ(run.code, 0) << run.err;
    json value;
    EXPECT_NO_THROW(value = json::parse(run.out)) << run.out;
    Check(arguments[0], value, keys);
    return value;
  }

  static void Check(const std::string& command, const json& object, const Keys& keys) {
    EXPECT_THAT(KeysOf(object), UnorderedElementsAreArray(keys));
    const auto words = DocumentedWords(command);
    for (const std::string& key : keys) EXPECT_TRUE(words.contains(key)) << command << ": " << key;
  }
};

const Keys kQuantizeKeys = {"output",     "grid",         "method",          "container",
                            "file_bytes", "tensor_bytes", "bits_per_weight", "seconds",
                            "dry_run",    "tensors"};
const Keys kTensorKeys = {"name",  "shape",          "source_grid", "grid",
                          "bytes", "relative_error", "note"};
// What methods with calibration text measure besides.
const Keys kMeasuredKeys = {"output_error", "output_error_rtn", "damping", "seconds"};

TEST_F(JsonTest, Quantize) {
  for (const bool dry : {false, true}) {
    std::vector<std::string> arguments = {"quantize", model_, "--grid",
                                          "q4_0",     "-o",   Path("q.gguf")};
    if (dry) arguments = {"quantize", model_, "--grid", "q4_0", "--dry-run"};
    const json report = Run(arguments, kQuantizeKeys);
    EXPECT_EQ(report["dry_run"], dry);
    EXPECT_EQ(report["output"], dry ? "" : Path("q.gguf"));
    EXPECT_EQ(report["grid"], "q4_0");
    EXPECT_EQ(report["method"], "rtn");
    ASSERT_EQ(report["tensors"].size(), TinyModel().Tensors().size());
    Keys keys = kTensorKeys;
    keys.insert(keys.end(), kMeasuredKeys.begin(), kMeasuredKeys.end());
    Check("quantize", report["tensors"][0], keys);
  }
}

TEST_F(JsonTest, Convert) {
  Keys keys = kQuantizeKeys;
  for (const char* missing : {"grid", "method", "dry_run"}) std::erase(keys, missing);
  for (const char* own : {"exact", "reexpressed", "rounded", "relative_change"}) {
    keys.emplace_back(own);
  }
  const json report = Run({"convert", model_, "-o", Path("c.gguf")}, keys);
  Check("convert", report["tensors"][0], kTensorKeys);
  EXPECT_EQ(report["file_bytes"], Size("c.gguf"));
}

TEST_F(JsonTest, Evaluate) {
  const Keys keys = {"perplexity",
                     "perplexity_error",
                     "reference_perplexity",
                     "reference_perplexity_error",
                     "kld_mean",
                     "kld_mean_error",
                     "kld_median",
                     "kld_p99",
                     "kld_max",
                     "same_top1",
                     "same_top1_error",
                     "rms_delta_p",
                     "rms_delta_p_error",
                     "tokens",
                     "chunks",
                     "seconds"};
  std::vector<std::string> arguments = {"evaluate", model_, "--text",    text_,
                                        "--chunks", "2",    "--context", "32"};
  json report = Run(arguments, keys);
  for (const std::string& key : keys) {
    const bool compares = key.starts_with("kld") || key.starts_with("reference") ||
                          key.starts_with("same") || key.starts_with("rms");
    EXPECT_EQ(report[key].is_null(), compares) << key;
  }
  arguments.insert(arguments.end(), {"--reference", model_});
  report = Run(arguments, keys);
  for (const std::string& key : keys) EXPECT_TRUE(report[key].is_number()) << key;

  report = Run({"evaluate", model_, "--tokens", "1,2,3", "--npy", Path("l.npy")},
               {"npy", "tokens", "vocabulary"});
  EXPECT_EQ(report,
            (json{{"npy", Path("l.npy")}, {"tokens", 3}, {"vocabulary", TinyModel::kVocabulary}}));
}

TEST_F(JsonTest, Bench) {
  const json report =
      Run({"bench", model_, "-p", "8", "-n", "4", "-r", "1", "--threads", "1"},
          {"prompt_tps", "generation_tps", "sequences", "sequences_tps", "load_seconds",
           "peak_bytes", "weight_bytes", "kv_cache_bytes", "read_gbps", "machine_gbps", "threads"});
  EXPECT_EQ(report["threads"], 1);
  EXPECT_TRUE(report["sequences_tps"].is_null());
  const Finished run =
      Halftone({"bench", model_, "-p", "8", "-n", "4", "-r", "1", "-s", "3", "-d", "5", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json several = json::parse(run.out);
  EXPECT_EQ(several["sequences"], 3);
  EXPECT_GT(several["sequences_tps"], 0);
  for (const char* key : {"prompt_tps", "generation_tps", "peak_bytes", "machine_gbps"}) {
    EXPECT_GT(report[key], 0) << key;
  }
  // All weights but the embedding, of which a token reads one row.
  uint64_t bytes = 0;
  for (const auto& [name, shape] : TinyModel().Tensors()) {
    if (name != "token_embd") bytes += 4 * TinyModel::Count(shape);
  }
  EXPECT_NEAR(report["weight_bytes"], static_cast<double>(bytes), 4 * 256);
  EXPECT_NEAR(report["read_gbps"],
              report["weight_bytes"].get<double>() * report["generation_tps"].get<double>() / 1e9,
              1e-9);
}

TEST_F(JsonTest, Plan) {
  const json report = Run({"plan", model_, "--memory", "1GiB"},
                          {"model", "parameters", "exact", "context", "kv_grid", "ram_bytes",
                           "vram_bytes", "advice", "rows"});
  Check("plan", report["rows"][0],
        {"grid", "bits_per_weight", "weight_bytes", "kv_cache_bytes", "activation_bytes",
         "total_bytes", "fits_ram", "fits_vram", "recommended"});
  EXPECT_EQ(report["exact"], true);
  EXPECT_EQ(report["ram_bytes"], uint64_t{1} << 30);
}

TEST_F(JsonTest, Inspect) {
  const json report =
      Run({"inspect", model_}, {"path", "container", "architecture", "file_bytes", "tensor_bytes",
                                "parameters", "bits_per_weight", "kind", "notes", "metadata", "tensors"});
  EXPECT_EQ(report["file_bytes"], Size("model.gguf"));
  EXPECT_EQ(report["architecture"], "llama");
  Check("inspect", report["metadata"][0], {"key", "type", "value"});
  Check("inspect", report["tensors"][0], {"name", "grid", "shape", "bytes", "bits_per_weight"});
  Run({"inspect", model_, "--tensor", "output.weight"},
      {"tensor", "shape", "min", "max", "mean", "rms", "not_finite", "npy"});
}

TEST_F(JsonTest, Imatrix) {
  const json report = Run({"imatrix", model_, "--text", text_, "-o", Path("i.gguf"), "--context",
                           "32", "--chunks", "2"},
                          {"output", "tokens", "chunks", "entries", "seconds"});
  EXPECT_EQ(report["tokens"], 64);
  EXPECT_EQ(report["chunks"], 2);
  EXPECT_EQ(report["entries"], 7);  // the matrices of one layer
}

TEST_F(JsonTest, Run) {
  const json report =
      JsonTest::Run({"run", model_, "-p", "the", "-n", "3", "--temp", "0"},
                    {"text", "stop", "prompt_tokens", "tokens", "prompt_tps", "generation_tps"});
  EXPECT_EQ(report["tokens"], 3);
  EXPECT_EQ(report["prompt_tokens"], 2);
  EXPECT_EQ(report["stop"], "length");
}

// Pairs are merged by falling score until none is left that makes a piece.
TEST_F(JsonTest, Tokenize) {
  const Finished plain = Halftone({"tokenize", model_, "--text", "the sing"});
  const Finished flag = Halftone({"tokenize", model_, "--text", "the sing", "--json"});
  EXPECT_EQ(plain.out, flag.out);
  EXPECT_EQ(json::parse(plain.out),
            (json{1, TinyModel::Piece("▁the"), TinyModel::Piece("▁s"), TinyModel::Piece("ing")}));
}

TEST_F(JsonTest, Version) {
  const json report = JsonTest::Run(
      {"version"}, {"version", "grids", "presets", "methods", "containers", "architectures"});
  Check("version", report["grids"][0],
        {"name", "bits_per_weight", "block", "writable", "needs_importance"});
  for (const char* list : {"presets", "methods", "containers"}) {
    Check("version", report[list][0], {"name", "summary"});
  }
}

// Text of a file may be anything; JSON must be UTF-8, with control characters escaped.
TEST_F(JsonTest, TakesNamesThatAreNoUtf8) {
  const std::string name = "bad\xFF\"\n\x1B[31m";
  const std::string file =
      Write("odd.gguf", ByteBuilder().Gguf(1, 0).GgufTensor(name, {4}, 0, 0).PadTo(32).Zeros(32));
  const Finished run = Halftone({"inspect", file, "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out)["tensors"][0]["name"], "bad\uFFFD\"\n\x1B[31m");
  EXPECT_EQ(run.out.find('\x1B'), std::string::npos);
}

}  // namespace
}  // namespace halftone
