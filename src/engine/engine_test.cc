#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>

#include "base/json.h"
#include "container/container.h"
#include "engine/chunks.h"
#include "engine/generator.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "halftone/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/impatient.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

// With `rounded` activations where the checkpoint asks for LLM.int8().
std::shared_ptr<const LoadedModel> Load(const std::filesystem::path& path, int threads = 2,
                                        bool rounded = true) {
  Checkpoint checkpoint = OpenCheckpoint(path);
  if (!rounded) checkpoint.int8_threshold = std::nullopt;
  return std::make_shared<const LoadedModel>(std::move(checkpoint),
                                             std::shared_ptr<Ops>(MakeCpuOps(threads)));
}

std::vector<float> LogitsOf(const std::shared_ptr<const LoadedModel>& model,
                            const std::vector<int32_t>& ids, int64_t step) {
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  std::vector<float> logits(ids.size() * vocabulary);
  Session session(model, static_cast<int64_t>(ids.size()));
  for (size_t at = 0; at < ids.size(); at += step) {
    const auto n = std::min<size_t>(step, ids.size() - at);
    session.Append(std::span(ids).subspan(at, n), static_cast<int64_t>(n),
                   logits.data() + at * vocabulary);
  }
  return logits;
}

// Largest difference relative to the range of the expected logits.
double Difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  const auto [low, high] = std::ranges::minmax(expected);
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(actual[i]) - expected[i]));
  }
  return largest / (high - low);
}

struct Expected {
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

// input_ids and logits of transformers' f32 forward pass, stored beside the fixture.
Expected ReadExpected(const std::string& folder) {
  const Checkpoint file =
      OpenCheckpoint(SharedPath("fixtures/" + folder + "/expected.safetensors"));
  Expected expected;
  for (const float id : Decode(file.Get("input_ids"))) {
    expected.ids.push_back(static_cast<int32_t>(id));
  }
  expected.logits = Decode(file.Get("logits"));
  return expected;
}

class TransformersLogits : public testing::TestWithParam<const char*> {};

TEST_P(TransformersLogits, AgreeWithinAThousandthOfTheirRange) {
  const std::string folder = GetParam();
  HALFTONE_NEED_SHARED("fixtures/" + folder);
  const Expected expected = ReadExpected(folder);
  const auto model =
      Load(folder == "tiny-bf16" ? TinyBf16Folder() : SharedPath("fixtures/" + folder), 2, false);
  // The prompt at once, in uneven pieces and token by token.
  for (const int64_t step : {int64_t{1000}, int64_t{7}, int64_t{1}}) {
    EXPECT_LT(Difference(LogitsOf(model, expected.ids, step), expected.logits), 1e-3) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TransformersLogits,
                         testing::Values("tiny-bf16", "small-bf16", "tiny-bnb-nf4",
                                         "tiny-bnb-nf4-dq", "tiny-bnb-fp4", "tiny-bnb-int8",
                                         "tiny-ct-pack-quantized", "small-ct-pack-quantized-asym",
                                         "small-ct-int8-w8a8", "small-ct-fp8-dynamic",
                                         "small-ct-nvfp4a16", "small-ct-mxfp4a16"));

// A token takes out its own large activations, not the batch's. What bitsandbytes computes:
// src/kernel/cpu/int8_test.cc and tests/interop.
TEST(Int8Logits, DoNotDependOnTheBatch) {
  HALFTONE_NEED_SHARED("fixtures/tiny-bnb-int8");
  const Expected expected = ReadExpected("tiny-bnb-int8");
  const auto model = Load(SharedPath("fixtures/tiny-bnb-int8"));
  const auto logits = LogitsOf(model, expected.ids, 1000);
  EXPECT_EQ(LogitsOf(model, expected.ids, 7), logits);
  EXPECT_EQ(LogitsOf(model, expected.ids, 1), logits);
  const double change = Difference(logits, expected.logits);
  EXPECT_GT(change, 1e-3) << "activations were not rounded";
  EXPECT_LT(change, 5e-2);
}

class LlamaCppLogits : public testing::TestWithParam<const char*> {};

// `logits` are llama.cpp's on the same weights widened to f32.
TEST_P(LlamaCppLogits, AgreeWithinAThousandthOfTheirRange) {
  const std::string folder = GetParam();
  HALFTONE_NEED_SHARED("fixtures/" + folder);
  const Expected expected = ReadExpected(folder);
  std::filesystem::path gguf;
  for (const auto& entry : std::filesystem::directory_iterator(SharedPath("fixtures/" + folder))) {
    if (entry.path().extension() == ".gguf") gguf = entry.path();
  }
  EXPECT_LT(Difference(LogitsOf(Load(gguf), expected.ids, 1000), expected.logits), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, LlamaCppLogits,
                         testing::Values("tiny-gguf-Q4_K_M-imatrix", "tiny-gguf-IQ3_XXS-imatrix"));

TEST(SessionTest, DoesNotDependOnThreads) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  const std::vector<int32_t> ids = {1, 300, 45, 17, 401, 22, 9, 100};
  const auto one = LogitsOf(Load(SharedPath("models/tiny1m"), 1), ids, 1000);
  EXPECT_EQ(LogitsOf(Load(SharedPath("models/tiny1m"), 3), ids, 1000), one);
}

TEST(SessionTest, RewindsAndRefuses) {
  HALFTONE_NEED_SHARED("models/tiny1m");
  const auto model = Load(SharedPath("models/tiny1m"));
  std::vector<float> first(512), again(512);
  Session session(model, 4);
  const std::vector<int32_t> ids = {1, 300, 45};
  session.Append(ids, 1, first.data());
  session.Rewind(1);
  session.Append(std::span(ids).subspan(1), 1, again.data());
  for (size_t i = 0; i < 512; ++i) EXPECT_NEAR(first[i], again[i], 1e-4);
  EXPECT_THROW(session.Append(ids, 0, nullptr), Error);  // 6 of 4
  session.Rewind(0);
  EXPECT_THROW(session.Append(std::vector<int32_t>{512}, 0, nullptr), Error);
  EXPECT_THROW(session.Append(std::vector<int32_t>{-1}, 0, nullptr), Error);
}

TEST(SamplerTest, FollowsTheDistribution) {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  options.seed = 7;
  Sampler sampler(options);
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  std::map<int32_t, int> hits;
  for (int i = 0; i < 20000; ++i) ++hits[sampler.Next(logits)];
  EXPECT_NEAR(hits[0] / 20000.0, 0.5, 0.015);
  EXPECT_NEAR(hits[1] / 20000.0, 0.3, 0.015);
  EXPECT_NEAR(hits[2] / 20000.0, 0.2, 0.015);
}

TEST(SamplerTest, CutsTheTail) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.05f)};
  const auto seen = [&](int top_k, float top_p, float min_p) {
    Sampler sampler({1.0f, top_k, top_p, min_p, 3});
    int32_t highest = 0;
    for (int i = 0; i < 2000; ++i) highest = std::max(highest, sampler.Next(logits));
    return highest;
  };
  EXPECT_EQ(seen(0, 1, 0), 3);
  EXPECT_EQ(seen(2, 1, 0), 1);
  EXPECT_EQ(seen(0, 0.7f, 0), 1);   // 0.5 is not enough, 0.8 is
  EXPECT_EQ(seen(0, 1, 0.25f), 2);  // at least 0.125
  Sampler greedy({0, 40, 0.95f, 0.05f, 0});
  EXPECT_EQ(greedy.Next(logits), 0);
  EXPECT_THROW(Sampler({-1, 0, 1, 0, 0}), Error);
  EXPECT_THROW(Sampler({1, 0, 0, 0, 0}), Error);
}

TEST(Utf8StreamTest, HoldsBackUnfinishedSequences) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("a\xE2\x82"), "a");
  EXPECT_EQ(stream.Push("\xAC"), "\xE2\x82\xAC");
  EXPECT_EQ(stream.Push("\xF0\x9F"), "");
  EXPECT_EQ(stream.Push("\x98\x80!"), "\xF0\x9F\x98\x80!");
  EXPECT_EQ(stream.Push("\x80\x80\x80\x80"), "\x80\x80\x80\x80");  // can never be completed
  EXPECT_EQ(stream.Push("\xC3"), "");
  EXPECT_EQ(stream.Finish(), "\xC3");
}

// What StopTexts gives of a text that comes in the given pieces.
std::string UntilStop(const std::vector<std::string>& stops,
                      const std::vector<std::string>& pieces) {
  StopTexts stream(stops);
  std::string shown;
  for (const std::string& piece : pieces) shown += stream.Push(piece);
  return shown + stream.Finish();
}

TEST(StopTextsTest, EndTheTextWhereTheFirstBegins) {
  StopTexts stream({"END", "NO"});
  EXPECT_EQ(stream.Push("anE"), "an");
  EXPECT_EQ(stream.Push("N"), "");
  EXPECT_EQ(stream.Push("Nx"), "ENNx");
  EXPECT_EQ(stream.Push("N"), "");
  EXPECT_EQ(stream.Push("O more"), "");
  EXPECT_TRUE(stream.found());
  EXPECT_EQ(stream.Push("text"), "");
  EXPECT_EQ(stream.Finish(), "");
  EXPECT_THROW(StopTexts({"a", ""}), Error);
}

// However the text is cut, what is shown ends where the first of the texts is found in the whole.
// (None of them lies within another, where the one that is complete first would count.)
TEST(StopTextsTest, DoNotDependOnThePieces) {
  const std::vector<std::string> stops = {"abab", "bb", "aaab"};
  std::minstd_rand random(5);
  int stopped = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string whole;
    std::vector<std::string> pieces;
    while (whole.size() < 12) {
      std::string piece;
      for (size_t n = random() % 4; n > 0; --n) piece += "abc"[random() % 3];
      whole += piece;
      pieces.push_back(piece);
    }
    size_t begin = whole.size();
    for (const std::string& stop : stops) begin = std::min(begin, whole.find(stop));
    stopped += begin < whole.size();
    EXPECT_EQ(UntilStop(stops, pieces), whole.substr(0, begin)) << whole;
  }
  EXPECT_GT(stopped, 500);
}

TEST(GeneratorTest, GreedyTextIsTheSameWithAndWithoutTheCache) {
  HALFTONE_NEED_SHARED("models/ref-75m");
  const auto model = Load(SharedPath("models/ref-75m"));
  const auto tokenizer = MakeTokenizer(model->checkpoint);
  Generator generator(model, *tokenizer, 128);
  SamplingOptions greedy;
  greedy.temperature = 0;
  const auto prompt = tokenizer->Encode("The capital of France is", true);
  std::string streamed;
  const Generation first = generator.Generate(prompt, 12, greedy, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  EXPECT_EQ(first.text, streamed);
  EXPECT_EQ(first.tokens, 12);
  EXPECT_EQ(first.stop, "length");
  EXPECT_EQ(generator.Generate(prompt, 12, greedy, nullptr).text, first.text);
  const Generation stopped =
      generator.Generate(prompt, 12, greedy, [](std::string_view) { return false; });
  EXPECT_EQ(stopped.stop, "stopped");
}

class ContinuationTest : public testing::Test {
 protected:
  void SetUp() override {
    HALFTONE_NEED_SHARED("models/ref-75m");
    model_ = Load(SharedPath("models/ref-75m"));
    tokenizer_ = MakeTokenizer(model_->checkpoint);
    options_.max_tokens = 10;
    options_.sampling.temperature = 0;
  }

  std::string Text(Continuation& continuation) const {
    std::string text;
    while (const auto piece = continuation.Next()) text += *piece;
    EXPECT_EQ(text, continuation.made().text);
    return text;
  }

  std::string Alone(const std::vector<int32_t>& prompt) const {
    return Text(*Generator(model_, *tokenizer_, 128).Continue(prompt, options_));
  }

  std::shared_ptr<const LoadedModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  GenerateOptions options_;
};

TEST_F(ContinuationTest, SeveralTakeTurns) {
  const auto one = tokenizer_->Encode("The capital of France is", true);
  const auto two = tokenizer_->Encode("The history of the", true);
  Generator generator(model_, *tokenizer_, 128);
  const auto first = generator.Continue(one, options_), second = generator.Continue(two, options_);
  std::string texts[2];
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < 2; ++i) {
      if (const auto piece = (i == 0 ? first : second)->Next()) texts[i] += *piece, more = true;
    }
  }
  EXPECT_EQ(texts[0], Alone(one));
  EXPECT_EQ(texts[1], Alone(two));
  EXPECT_EQ(first->made().ids.size(), 10u);
  EXPECT_EQ(first->made().stop, "length");
  EXPECT_EQ(first->Next(), std::nullopt);
}

TEST_F(ContinuationTest, EndsBeforeAStopText) {
  const auto prompt = tokenizer_->Encode("The capital of France is", true);
  const std::string whole = Alone(prompt);
  options_.stop_texts = {whole.substr(whole.size() / 2, 3)};
  Generator generator(model_, *tokenizer_, 128);
  const auto continuation = generator.Continue(prompt, options_);
  EXPECT_EQ(Text(*continuation), whole.substr(0, whole.find(options_.stop_texts[0])));
  EXPECT_EQ(continuation->made().stop, "text");
}

// The prompt's pass is left in the middle of any operation; the generator can be used again.
TEST_F(ContinuationTest, CanBeCancelledWithinThePrompt) {
  const auto prompt = tokenizer_->Encode("The capital of France is", true);
  Generator generator(model_, *tokenizer_, 128);
  const std::string whole = Alone(prompt);
  EXPECT_EQ(Text(*generator.Continue(prompt, options_)), whole);
  for (int questions = 0; questions < 300; questions += questions < 30 ? 1 : 45) {
    SCOPED_TRACE(questions);
    Impatient impatient(questions);
    GenerateOptions options = options_;
    options.progress = &impatient;
    const auto continuation = generator.Continue(prompt, options);
    ExpectError(Error::Kind::kCancelled, "cancelled", [&] { Text(*continuation); });
    EXPECT_EQ(Text(*generator.Continue(prompt, options_)), whole);
  }
}

TEST(TokenizerTest, MustNotHaveMoreTokensThanTheEmbeddingRows) {
  Checkpoint checkpoint;
  checkpoint.path = "model.gguf";
  checkpoint.metadata.Set("tokenizer.ggml.model", std::string("rwkv"));
  checkpoint.metadata.Set("tokenizer.ggml.tokens", Array{std::vector<std::string>{"a", "b", "c"}});
  for (const int64_t rows : {3, 4}) {
    checkpoint.tensors = {MakeF32Tensor("token_embd.weight", {rows, 1}, std::vector<float>(rows))};
    EXPECT_EQ(MakeTokenizer(checkpoint)->vocabulary(), 3);
  }
  checkpoint.tensors = {MakeF32Tensor("token_embd.weight", {2, 1}, std::vector<float>(2))};
  ExpectError(Error::Kind::kFormat, "the tokenizer has 3 tokens but the embedding only 2 rows",
              [&] { MakeTokenizer(checkpoint); });
}

}  // namespace
}  // namespace halftone
