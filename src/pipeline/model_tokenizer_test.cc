// The public tokenizer against Hugging Face's: ids of src/tokenizer/testdata/folder_golden.json,
// which its script took from there, and the texts that they came from.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "halftone/model.h"
#include "halftone/tokenizer.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

nlohmann::json Golden() {
  std::ifstream file(SourcePath("src/tokenizer/testdata/folder_golden.json"));
  return nlohmann::json::parse(file);
}

std::vector<int32_t> Ids(const std::string& words) {
  std::istringstream stream(words);
  std::vector<int32_t> ids;
  for (int32_t id; stream >> id;) ids.push_back(id);
  return ids;
}

TEST(ModelTokenizerTest, GivesHuggingFacesIdsAndTheTextsBack) {
  const nlohmann::json golden = Golden();
  const std::string folder = "ref-75m";
  HALFTONE_NEED_SHARED("models/" + folder);
  const auto tokenizer = ModelTokenizer::Open(SharedPath("models/" + folder).string());
  int texts = 0;
  for (size_t i = 0; i < golden["texts"].size(); ++i) {
    const std::string text = golden["texts"][i];
    const auto ids = Ids(golden["folders"][folder]["special"][i]);
    EXPECT_EQ(tokenizer->Encode(text), ids) << text;
    EXPECT_EQ(tokenizer->Decode(ids), text);
    ++texts;
  }
  EXPECT_GT(texts, 20);
}

class TinyTokenizerTest : public TinyModelTest {};

TEST_F(TinyTokenizerTest, FramesTextsAndTakesTheSpaceInFrontAway) {
  const auto tokenizer = ModelTokenizer::Open(model_);
  const std::vector<int32_t> ids = tokenizer->Encode("the an");
  ASSERT_FALSE(ids.empty());
  EXPECT_EQ(ids.front(), tokenizer->bos());
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_TRUE(tokenizer->EndsGeneration(2));
  EXPECT_EQ(tokenizer->Encode("the an", false), std::vector<int32_t>(ids.begin() + 1, ids.end()));
  EXPECT_EQ(tokenizer->Decode(ids, true), "the an");
  EXPECT_EQ(tokenizer->Decode(ids, false), "<s> the an");
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("  the", false)), "  the");
  // What a model makes of a text has no such space: only the first is taken.
  EXPECT_EQ(tokenizer->Decode({TinyModel::Piece("▁the"), TinyModel::Piece("▁a")}), "the a");
  ExpectError(Kind::kUsage, "outside the vocabulary", [&] { tokenizer->Decode({100000}); });
}

TEST_F(TinyTokenizerTest, RendersItsTemplateWithAnyVariables) {
  const auto tokenizer = ModelTokenizer::Open(model_);
  EXPECT_FALSE(tokenizer->chat_template().empty());
  const std::string messages = R"("messages": [{"role": "user", "content": "hi"}])";
  EXPECT_EQ(tokenizer->ApplyChatTemplate("{" + messages + "}"), "<s>user: hi\n");
  EXPECT_EQ(tokenizer->ApplyChatTemplate("{" + messages + R"(, "add_generation_prompt": true})"),
            "<s>user: hi\nassistant:");
  for (const char* wrong : {"", "[]", "{", "null"}) {
    ExpectError(Kind::kUsage, "must be a JSON object",
                [&] { tokenizer->ApplyChatTemplate(wrong); });
  }
}

TEST_F(TinyTokenizerTest, IsTheModels) {
  const auto model = Model::Open(model_);
  EXPECT_EQ(model->tokenizer().Encode("the an"), model->Tokenize("the an"));
  EXPECT_EQ(model->tokenizer().vocabulary(), model->vocabulary());
}

// Weights alone run on token ids.
TEST(ModelTokenizerTest, IsNotNeededToRun) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  const std::string folder = SharedPath("fixtures/small-bf16").string();
  ExpectError(Kind::kUnsupported, "has no tokenizer", [&] { ModelTokenizer::Open(folder); });
  const auto model = Model::Open(folder);
  ExpectError(Kind::kUnsupported, "has no tokenizer", [&] { model->tokenizer(); });
  ExpectError(Kind::kUnsupported, "has no tokenizer", [&] { model->Tokenize("a"); });
  GenerateOptions options;
  options.max_tokens = 5;
  const auto continuation = model->Continue({1, 2, 3}, options);
  while (continuation->Next()) {
  }
  EXPECT_EQ(continuation->made().ids.size(), 5u);
  EXPECT_EQ(continuation->made().text, "");
}

}  // namespace
}  // namespace halftone
