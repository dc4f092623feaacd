// Using models: text that comes out, measurements whose values are known, plans.

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/cli/npy.h"
#include "tests/cli/program.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

using Arguments = std::vector<std::string>;

class RunTest : public TinyModelTest {
 protected:
  Npy Logits(const std::string& model, const std::string& tokens) const {
    const Finished run =
        Halftone({"evaluate", model, "--tokens", tokens, "--npy", Path("logits.npy")});
    EXPECT_EQ(run.code, 0) << run.err;
    return ParseNpy(ReadBytes(Path("logits.npy")));
  }

  std::string Text(const Arguments& more) const {
    Arguments arguments = {"run", model_, "-p", "the wing", "-n", "24"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_THAT(run.err, StartsWith("prompt "));
    EXPECT_EQ(run.err.find('\033'), std::string::npos);
    return run.out;
  }
};

// ---- Text ----

TEST_F(RunTest, GreedyTextIsTheSameEveryTime) {
  const std::string text = Text({"--temp", "0"});
  EXPECT_GT(text.size(), 24u / 2);
  EXPECT_TRUE(text.ends_with('\n'));
  EXPECT_TRUE(Text({"--temp", "0", "--seed", "9"}) == text);
  EXPECT_TRUE(Text({"--temp", "0", "--threads", "1"}) == text);
}

// Rows without a token are never chosen, however large their logits.
TEST_F(RunTest, NeverGeneratesPadding) {
  TinyModel padded;
  padded.padding = 61;
  const std::string file = Write("padded.gguf", padded.Bytes());
  const Npy logits = Logits(file, "1,5,9");
  ASSERT_EQ(logits.shape[1], TinyModel::kVocabulary + 61);
  EXPECT_GE(std::ranges::max_element(logits.values) - logits.values.begin(),
            TinyModel::kVocabulary);
  for (const Arguments& sampling : {Arguments{"--temp", "0"},
                                    {"--seed", "5"},
                                    {"--temp", "3", "--top-k", "0", "--top-p", "1"}}) {
    Arguments arguments = {"run", file, "-p", "the wing", "-n", "24"};
    arguments.insert(arguments.end(), sampling.begin(), sampling.end());
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.out, Text(sampling));
  }
}

// Tokens without rows have no meaning at all.
TEST_F(RunTest, RefusesTokensWithoutRows) {
  TinyModel cut;
  cut.padding = -7;
  const std::string file = Write("cut.gguf", cut.Bytes());
  for (const Arguments& arguments : {Arguments{"run", file, "-p", "x"},
                                     {"tokenize", file, "--text", "x"},
                                     {"evaluate", file, "--text", text_},
                                     {"quantize", file, "--grid", "q8_0", "-o", Path("o.gguf")},
                                     {"convert", file, "-o", Path("o.gguf")},
                                     {"imatrix", file, "--text", text_, "-o", Path("o.gguf")}}) {
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, 1) << arguments[0];
    EXPECT_THAT(run.err, HasSubstr("the tokenizer has 304 tokens but the embedding only 297 rows"))
        << arguments[0];
  }
  EXPECT_FALSE(Exists("o.gguf"));
}

// Settings that do not go with the tensors: who runs or rewrites the model says which.
TEST_F(RunTest, RefusesShapesThatDisagreeWithTheSettings) {
  const auto refuses = [&](const std::string& file, const std::string& part) {
    for (const Arguments& arguments : {Arguments{"run", file, "-p", "x"},
                                       {"evaluate", file, "--text", text_},
                                       {"quantize", file, "--grid", "q8_0", "-o", Path("o.gguf")},
                                       {"convert", file, "-o", Path("o.gguf")}}) {
      const Finished run = Halftone(arguments);
      EXPECT_EQ(run.code, 1) << arguments[0];
      EXPECT_THAT(run.err, HasSubstr(part)) << arguments[0];
    }
    EXPECT_THAT(Halftone({"inspect", file}).out, HasSubstr(part));
    EXPECT_FALSE(Exists("o.gguf"));
  };
  TinyModel model;
  model.layers = 2;
  std::string bytes = model.Bytes();
  const auto set = [&](std::string text, const std::string& key, uint32_t value) {
    const size_t at = text.find("llama." + key) + 6 + key.size() + 4;  // after the type
    std::memcpy(text.data() + at, &value, sizeof value);
    return text;
  };
  refuses(Write("a.gguf", set(bytes, "feed_forward_length", 128)),
          "'blk.0.ffn_gate.weight' has shape [256, 256], expected [128, 256]");
  refuses(Write("b.gguf", set(bytes, "attention.head_count_kv", 4)),
          "'blk.0.attn_k.weight' has shape [128, 256], expected [256, 256]");
  refuses(Write("c.gguf", set(bytes, "embedding_length", 512)), "by the model's settings");
  // A model that would run, without its second layer.
  refuses(Write("d.gguf", set(bytes, "block_count", 1)),
          "lies in layer 1, but the model's settings count 1");
}

TEST_F(RunTest, TheSeedDecidesTheText) {
  const std::string text = Text({"--seed", "1"});
  EXPECT_TRUE(Text({"--seed", "1"}) == text);
  EXPECT_FALSE(Text({"--seed", "2"}) == text);
}

// The next token is the one with the largest logit.
TEST_F(RunTest, GreedyTextFollowsTheLogits) {
  std::string prompt = "the";
  const json tokens = json::parse(Halftone({"tokenize", model_, "--text", prompt}).out);
  std::string list = tokens.dump();
  const Npy logits = Logits(model_, list.substr(1, list.size() - 2));
  ASSERT_EQ(logits.shape, (std::vector<int64_t>{2, TinyModel::kVocabulary}));
  const auto last = logits.values.end() - TinyModel::kVocabulary;
  const auto best = static_cast<int32_t>(std::max_element(last, logits.values.end()) - last);
  const Finished run = Halftone({"run", model_, "-p", prompt, "-n", "1", "--temp", "0"});
  std::string expected;
  if (best >= TinyModel::kFirstPiece) {
    expected = TinyModel::kPieces[best - TinyModel::kFirstPiece];
    if (expected.starts_with("▁")) expected.replace(0, std::string("▁").size(), " ");
  } else {
    expected = static_cast<char>(best - 3);
  }
  EXPECT_TRUE(run.out == expected + "\n") << best << ": " << testing::PrintToString(run.out);
}

TEST_F(RunTest, TokenizesStandardInput) {
  RunOptions options;
  options.input = "the";
  const std::string the = std::to_string(TinyModel::Piece("▁the"));
  EXPECT_EQ(Halftone({"tokenize", model_}, options).out, "[1, " + the + "]\n");
  EXPECT_EQ(Halftone({"tokenize", model_, "--no-special"}, options).out, "[" + the + "]\n");
  options.input = "";
  EXPECT_EQ(Halftone({"tokenize", model_}, options).out, "[1]\n");
  EXPECT_EQ(Halftone({"tokenize", model_, "--no-special"}, options).out, "[]\n");
  // Bytes that are no piece, and no UTF-8, are tokens of their own.
  options.input = std::string("\xFF\0", 2);
  EXPECT_EQ(Halftone({"tokenize", model_, "--no-special"}, options).out,
            "[" + std::to_string(TinyModel::Piece("▁")) + ", 258, 3]\n");
}

TEST_F(RunTest, ChatsThroughAPipe) {
  RunOptions options;
  options.input = "the wing\nand on \\\nthe other\n\n/reset\nthe wing\n/exit\nnot read\n";
  const Arguments arguments = {"run", model_, "-n", "4", "--temp", "0"};
  const Finished run = Halftone(arguments, options);
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");  // no prompt signs where nobody types
  // Three answers; after /reset the first question gets the first answer.
  const Finished once =
      Halftone({"run", model_, "-n", "4", "--temp", "0", "--chat", "-p", "the wing"});
  EXPECT_EQ(once.code, 0);
  EXPECT_TRUE(run.out.starts_with(once.out));
  EXPECT_TRUE(run.out.ends_with(once.out));
  EXPECT_GT(run.out.size(), 2 * once.out.size());
}

TEST_F(RunTest, ChatNeedsATemplate) {
  TinyModel bare;
  bare.chat_template = false;
  const std::string file = Write("bare.gguf", bare.Bytes());
  RunOptions options;
  options.input = "the\n";
  const Finished run = Halftone({"run", file}, options);
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, AllOf(HasSubstr("has no chat template"), MatchesRegex("[^\n]*\n")));
}

TEST_F(RunTest, RefusesPromptsThatDoNotFit) {
  const Finished run = Halftone({"run", model_, "-p", TinyText(200), "--context", "16"});
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, MatchesRegex("halftone: error: [^\n]*16[^\n]*\n"));
}

// ---- Measurements ----

// All tokens equally likely: the perplexity is the number of tokens, by definition.
TEST_F(RunTest, PerplexityOfAUniformModel) {
  TinyModel uniform;
  uniform.uniform = true;
  const std::string file = Write("uniform.gguf", uniform.Bytes());
  const json report = Json({"evaluate", file, "--text", text_, "--context", "64", "--chunks", "3"});
  EXPECT_NEAR(report["perplexity"], TinyModel::kVocabulary, 1e-3);
  EXPECT_NEAR(report["perplexity_error"], 0, 1e-3);
  EXPECT_EQ(report["chunks"], 3);
  // The second half of each chunk, as llama-perplexity counts.
  EXPECT_EQ(report["tokens"], 3 * (64 - 64 / 2 - 1));
}

TEST_F(RunTest, AModelDoesNotDivergeFromItself) {
  const json report = Json({"evaluate", model_, "--text", text_, "--reference", model_, "--context",
                            "64", "--chunks", "2"});
  EXPECT_NEAR(report["kld_mean"], 0, 1e-9);
  EXPECT_NEAR(report["kld_max"], 0, 1e-9);
  EXPECT_EQ(report["same_top1"], 1);
  EXPECT_EQ(report["rms_delta_p"], 0);
  EXPECT_EQ(report["perplexity"], report["reference_perplexity"]);
}

// A chat is measured as the text that the template makes of it.
TEST_F(RunTest, EvaluatesChatsThroughTheTemplate) {
  const std::string question = TinyText(400), answer = TinyText(900);
  const std::string chats =
      Write("chats.jsonl", json{{"messages",
                                 {{{"role", "user"}, {"content", question}},
                                  {{"role", "assistant"}, {"content", answer}}}}}
                                   .dump() +
                               "\n");
  const std::string rendered =
      Write("rendered.txt", "user: " + question + "\nassistant: " + answer + "\n");
  const std::string other = Path("other.gguf");
  ASSERT_EQ(Halftone({"quantize", model_, "--grid", "q4_0", "-o", other}).code, 0);
  const auto measured = [&](const std::string& text) {
    json report = Json({"evaluate", other, "--reference", model_, "--text", text, "--context", "32",
                        "--chunks", "0"});
    report.erase("seconds");
    return report;
  };
  const json report = measured(chats);
  EXPECT_GT(report["chunks"], 4);
  EXPECT_EQ(report, measured(rendered));
  const json compared =
      Json({"compare", model_, "--text", chats, "--context", "32", "--chunks", "0", "--grids",
            "q4_0", "--sample-tokens", "0", "-o", Path("report")});
  EXPECT_EQ(compared["rows"][1]["kld_mean"], report["kld_mean"]);

  const std::string broken = Write("broken.jsonl", "{\"text\": \"the\"}\n{\"text\": 7}\n");
  const Finished run = Halftone({"evaluate", model_, "--text", broken, "--context", "32"});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.err, HasSubstr(broken + ": line 2: "));
}

TEST_F(RunTest, RefusesTextsAndReferencesThatDoNotServe) {
  const auto fails = [&](const Arguments& arguments, int code, const std::string& part) {
    const Finished run = Halftone(arguments);
    EXPECT_EQ(run.code, code) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, AllOf(HasSubstr(part), MatchesRegex("[^\n]*\n")));
  };
  const std::string brief = Write("brief.txt", "the wing");
  fails({"evaluate", model_, "--text", brief}, 2, brief);
  fails({"evaluate", model_, "--text", Path("absent.txt")}, 1, "absent.txt");
  fails({"evaluate", model_, "--text", text_, "--reference", Path("absent.gguf")}, 1,
        "absent.gguf");
  fails({"evaluate", model_, "--tokens", "1,999", "--npy", Path("n.npy")}, 2, "999");
  fails({"evaluate", model_, "--tokens", "-1", "--npy", Path("n.npy")}, 2, "-1");
  EXPECT_FALSE(Exists("n.npy"));
}

// Logits of transformers, f32, on the same weights; stored beside the models.
TEST_F(RunTest, LogitsAreThoseOfTransformers) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  HALFTONE_NEED_SHARED("fixtures/tiny-bf16");
  for (const fs::path& model : {SharedPath("fixtures/small-bf16"), TinyBf16Folder()}) {
    SCOPED_TRACE(model.string());
    const auto expected = [&](const std::string& tensor) {
      const Finished run = Halftone({"inspect", (model / "expected.safetensors").string(),
                                     "--tensor", tensor, "--npy", Path("expected.npy")});
      EXPECT_EQ(run.code, 0) << run.err;
      return ParseNpy(ReadBytes(Path("expected.npy")));
    };
    std::string tokens;
    for (const float id : expected("input_ids").values) {
      tokens += (tokens.empty() ? "" : ",") + std::to_string(static_cast<int>(id));
    }
    const Npy logits = Logits(model.string(), tokens), theirs = expected("logits");
    EXPECT_EQ(logits.shape, theirs.shape);
    ASSERT_EQ(logits.values.size(), theirs.values.size());
    const auto [low, high] = std::ranges::minmax(theirs.values);
    EXPECT_THAT(logits.values,
                testing::Pointwise(testing::FloatNear(1e-3f * (high - low)), theirs.values));
  }
}

// A trained model keeps what it says at 8 bits, and less of it at 4.
TEST_F(RunTest, QuantizingATrainedModelKeepsItsLogits) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  const std::string model = SharedPath("models/tiny1m").string();
  const std::string tokens = "1,403,407,261,378,432,386,261,420";
  const Npy original = Logits(model, tokens);
  double last = 0;
  for (const auto& [grid, most] : {std::pair("q8_0", 0.02), std::pair("q4_0", 0.4)}) {
    ASSERT_EQ(Halftone({"quantize", model, "-o", Path("q.gguf"), "--grid", grid}).code, 0);
    const Npy logits = Logits(Path("q.gguf"), tokens);
    double change = 0, square = 0;
    for (size_t i = 0; i < logits.values.size(); ++i) {
      change += std::pow(logits.values[i] - original.values[i], 2);
      square += std::pow(original.values[i], 2);
    }
    const double relative = std::sqrt(change / square);
    EXPECT_GT(relative, last) << grid;
    EXPECT_LT(relative, most) << grid;
    last = relative;
  }
}

// Written as llama-imatrix writes it.
TEST_F(RunTest, ImatrixHoldsSumsAndCounts) {
  ASSERT_EQ(Halftone({"imatrix", model_, "--text", text_, "-o", Path("i.gguf"), "--context", "64",
                      "--chunks", "2"})
                .code,
            0);
  const json file = Json({"inspect", Path("i.gguf")});
  std::vector<std::string> names;
  for (const auto& tensor : file["tensors"]) names.push_back(tensor["name"]);
  EXPECT_THAT(names,
              testing::IsSupersetOf({"blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts",
                                     "blk.0.ffn_down.weight.in_sum2"}));
  bool typed = false;
  for (const auto& entry : file["metadata"]) {
    typed |= entry["key"] == "general.type" && entry["value"] == "imatrix";
  }
  EXPECT_TRUE(typed);
}

// ---- Plans ----

TEST_F(RunTest, PlanKnowsTheSizesOfSevenBillion) {
  const json report = Json({"plan", "7B", "--memory", "8GiB"});
  EXPECT_EQ(report["parameters"], 7'000'000'000);
  // Bits to gigabytes: 7 billion times the bits, over 8.
  std::map<int, double> sizes;
  for (const auto& row : report["rows"]) {
    const double bits = row["bits_per_weight"];
    EXPECT_NEAR(row["weight_bytes"].get<double>(), 7e9 * bits / 8, 1e7);
    EXPECT_EQ(row["fits_ram"], row["total_bytes"] <= report["ram_bytes"]) << row["grid"];
    if (std::fabs(bits - std::round(bits)) < 0.002) {
      sizes[static_cast<int>(std::round(bits))] = row["weight_bytes"].get<double>() / 1e9;
    }
  }
  EXPECT_NEAR(sizes[32], 28, 0.01);
  EXPECT_NEAR(sizes[16], 14, 0.01);
  EXPECT_NEAR(sizes[8], 7, 0.01);
  EXPECT_NEAR(sizes[4], 3.5, 0.01);
  const Finished text = Halftone({"plan", "7B", "--memory", "8GiB"});
  for (const char* size : {" 28.0 GB ", " 14.0 GB ", " 7.00 GB ", " 3.50 GB "}) {
    EXPECT_THAT(text.out, HasSubstr(size));
  }
  EXPECT_THAT(text.out, HasSubstr("<- best"));
}

}  // namespace
}  // namespace halftone
