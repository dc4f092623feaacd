// The tokenizers of each kind against Hugging Face's: small ones that testdata/
// make_tokenizer_golden.py trained, and the texts it encoded with them.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/testing/paths.h"
#include "tests/testing/temp_folder.h"
#include "tokenizer/testing/ids.h"
#include "tokenizer/tokenizer.h"

namespace halftone {
namespace {

const Json& Golden() {
  static const Json golden =
      ParseJson(ReadBytes(SourcePath("src/tokenizer/testdata/tokenizer_golden.json")), "golden");
  return golden;
}

Metadata MetadataOf(const Json& kind) {
  return TokenizerMetadataFromHf({{"tokenizer.json", kind["tokenizer"].dump()},
                                  {"tokenizer_config.json", kind["tokenizer_config"].dump()}},
                                 kind["vocab_size"], "folder");
}

class TokenizerGoldenTest : public testing::TestWithParam<size_t> {
 protected:
  const Json& kind() const { return Golden()["kinds"][GetParam()]; }
  std::unique_ptr<Tokenizer> Make() const {
    return Tokenizer::FromMetadata(MetadataOf(kind()), "folder");
  }
};

TEST_P(TokenizerGoldenTest, EncodesAsHuggingFaceDoes) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->vocabulary(), kind()["vocab_size"].get<int64_t>());
  for (const bool special : {false, true}) {
    const Json& texts = Golden()["texts"];
    for (size_t i = 0; i < texts.size(); ++i) {
      SCOPED_TRACE(texts[i].dump() + (special ? " special" : ""));
      EXPECT_EQ(tokenizer->Encode(texts[i].get<std::string>(), special),
                Ids(kind()[special ? "special" : "plain"][i]));
    }
  }
}

TEST_P(TokenizerGoldenTest, DecodesToTheText) {
  const auto tokenizer = Make();
  const Metadata metadata = MetadataOf(kind());
  const bool byte_level = *metadata.String("tokenizer.ggml.model") == "gpt2";
  for (const Json& text : Golden()["texts"]) {
    std::string expected = text;
    std::string decoded;
    for (const int32_t id : tokenizer->Encode(expected, false)) {
      decoded += tokenizer->TokenText(id, false);
    }
    if (!byte_level) {
      // A space comes before the text and after user-defined tokens; U+2581 is one too.
      std::erase(decoded, ' ');
      std::erase(expected, ' ');
      if (const size_t at = expected.find("\u2581"); at != std::string::npos) expected.erase(at, 3);
    }
    EXPECT_EQ(decoded, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerGoldenTest,
                         testing::Range<size_t>(0, Golden()["kinds"].size()), [](const auto& info) {
                           std::string name = Golden()["kinds"][info.param]["name"];
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

}  // namespace
}  // namespace halftone
