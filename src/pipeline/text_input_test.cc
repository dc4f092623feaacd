// Calibration from conversations, against the tokens of the template's own rendering.

#include "pipeline/text_input.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "container/container.h"
#include "engine/session.h"
#include "halftone/error.h"
#include "pipeline/overlap.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/expect_error.h"

namespace halftone {
namespace {

// Notes that a person would see.
class Notes : public Progress {
 public:
  void Begin(std::string_view, int64_t) override {}
  void Advance(int64_t) override {}
  void End() override {}
  void Note(std::string_view message) override { all.emplace_back(message); }
  std::vector<std::string> all;
};

class TextInputTest : public TinyModelTest {
 protected:
  // The model with this template, or with none. Chunks begin with the text's own tokens unless the
  // tokenizer adds one.
  Checkpoint WithTemplate(const char* chat_template, bool add_bos = false) const {
    Checkpoint checkpoint = OpenCheckpoint(model_);
    checkpoint.metadata.Set("tokenizer.ggml.add_bos_token", Value(add_bos));
    checkpoint.metadata.Erase("tokenizer.chat_template");
    if (chat_template != nullptr) {
      checkpoint.metadata.Set("tokenizer.chat_template", Value(std::string(chat_template)));
    }
    return checkpoint;
  }
};

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";

TEST_F(TextInputTest, EveryFormOfALineIsTheSameConversation) {
  const Checkpoint model = WithTemplate(kTemplate);
  const std::string expected = "[user] Hello, you\n[assistant] Hello yourself\n";
  const auto tokens = MakeTokenizer(model)->Encode(expected, true);
  const auto length = static_cast<int64_t>(tokens.size()) / 2;
  for (const char* line : {
           R"({"messages": [{"role": "user", "content": "Hello, you"},
               {"role": "assistant", "content": "Hello yourself"}]})",
           R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello, "},
               {"type": "text", "text": "you"}]},
               {"role": "assistant", "content": "Hello yourself"}]})",
           R"({"conversations": [{"from": "human", "value": "Hello, you"},
               {"from": "gpt", "value": "Hello yourself"}]})",
           R"({"prompt": "Hello, you", "completion": "Hello yourself"})",
           R"({"text": "[user] Hello, you\n[assistant] Hello yourself\n"})"}) {
    std::string one(line);
    std::erase(one, '\n');
    const ChunkedText chunks = ReadChunks(model, {one + "\n\n", "chats.jsonl"}, length, 0, nullptr);
    EXPECT_EQ(chunks.count, 2);
    EXPECT_TRUE(std::equal(chunks.tokens.begin(), chunks.tokens.end(), tokens.begin())) << line;
  }
}

TEST_F(TextInputTest, SaysWhereThereIsNoTemplate) {
  const Checkpoint model = WithTemplate(nullptr);
  Notes notes;
  const ChunkedText chunks = ReadChunks(
      model, {R"({"prompt": "one two three", "completion": "four five six"})", "c.jsonl"}, 2, 0,
      &notes);
  ASSERT_EQ(notes.all.size(), 1u);
  EXPECT_NE(notes.all[0].find("no chat template"), std::string::npos);
  const auto tokens = MakeTokenizer(model)->Encode("one two three\nfour five six\n", true);
  EXPECT_TRUE(std::equal(chunks.tokens.begin(), chunks.tokens.end(), tokens.begin()));
}

TEST_F(TextInputTest, NamesTheLineThatIsBroken) {
  const Checkpoint model = WithTemplate(kTemplate);
  const auto broken = [&](const std::string& second, const char* why) {
    const std::string text = R"({"text": "a good line"})"
                             "\n" +
                             second + "\n";
    ExpectError(Error::Kind::kFormat, "c.jsonl: line 2: ", [&] {
      ReadChunks(model, {text, "c.jsonl"}, 2, 0, nullptr);
    });
    ExpectError(Error::Kind::kFormat, why, [&] {
      ReadChunks(model, {text, "c.jsonl"}, 2, 0, nullptr);
    });
  };
  broken("{\"text\": ", "not valid JSON");
  broken("[1, 2]", "not a JSON object");
  broken(R"({"question": "why?"})", "none of");
  broken(R"({"messages": []})", "empty");
  broken(R"({"messages": [{"content": "x"}]})", "\"role\"");
  broken(R"({"messages": [{"role": "user", "content": 7}]})", "no text");
  broken(R"({"prompt": 1, "completion": "x"})", "must be texts");
  ExpectError(Error::Kind::kUsage, "too few", [&] {
    ReadChunks(model, {R"({"text": "short"})", "c.jsonl"}, 64, 0, nullptr);
  });
  ExpectError(Error::Kind::kUsage, "too few", [&] {
    ReadChunks(model, {"", "c.jsonl"}, 64, 0, nullptr);
  });
}

// Whatever kind of error the template makes, it belongs to a line of the user's file.
TEST_F(TextInputTest, NamesTheLineThatTheTemplateRefuses) {
  const std::string text =
      "{\"text\": \"a good line\"}\n\n"
      R"({"messages": [{"role": "narrator", "content": "once"}]})"
      "\n";
  const auto refused = [&](Error::Kind kind, const char* chat_template, const std::string& why) {
    const Checkpoint model = WithTemplate(chat_template);
    ExpectError(kind, "c.jsonl: line 3: " + why, [&] {
      ReadChunks(model, {text, "c.jsonl"}, 2, 0, nullptr);
    });
  };
  refused(Error::Kind::kUsage, "{{ raise_exception('no narrators') }}",
          "chat template: no narrators");
  refused(Error::Kind::kFormat, "{% for m in messages %}", "");
}

// The tokenizer's own <s> in front of the template's is one too many; what the template repeats
// where the tokenizer adds nothing is what the model was trained on.
TEST_F(TextInputTest, KeepsTheBeginningThatTheTemplateAsksFor) {
  const std::string line = R"({"prompt": "in the winter", "completion": "sing and sing"})";
  const int32_t the = TinyModel::Piece("▁the");
  const auto beginning = [&](const char* chat_template, bool add_bos) {
    const ChunkedText chunks =
        ReadChunks(WithTemplate(chat_template, add_bos),
                   {line + "\n" + line + "\n" + line, "c.jsonl"}, 4, 0, nullptr);
    return std::vector<int32_t>(chunks.tokens.begin(), chunks.tokens.begin() + 3);
  };
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(beginning("{{ bos_token }}the the the the", false), (Tokens{1, the, the}));
  EXPECT_EQ(beginning("{{ bos_token }}the the the the", true), (Tokens{1, the, the}));
  EXPECT_EQ(beginning("{{ bos_token }}{{ bos_token }}the the", false), (Tokens{1, 1, the}));
  EXPECT_EQ(beginning("the the the the", true), (Tokens{1, the, the}));
  EXPECT_EQ(beginning("the the the the", false), (Tokens{the, the, the}));
}

TEST_F(TextInputTest, RendersNoMoreThanTheChunksTake) {
  const Checkpoint model = WithTemplate(
      "{% for m in messages %}{% if m.content == 'late' %}{{ raise_exception('rendered') }}"
      "{% endif %}[{{ m.role }}] {{ m.content }}\n{% endfor %}");
  const std::string early = R"({"prompt": "sing in the winter", "completion": "and then"})"
                            "\n";
  const std::string late = R"({"prompt": "late", "completion": "late"})"
                           "\n";
  const ChunkedText all = ReadChunks(model, {early + early + early, "c.jsonl"}, 8, 0, nullptr);
  const std::string text = early + early + early + late;
  ASSERT_GE(all.count, 4);
  for (const int64_t limit : {int64_t{1}, int64_t{2}, all.count}) {
    const ChunkedText some = ReadChunks(model, {text, "c.jsonl"}, 8, limit, nullptr);
    ASSERT_EQ(some.count, limit);
    EXPECT_TRUE(std::equal(some.tokens.begin(), some.tokens.end(), all.tokens.begin()));
  }
  ExpectError(Error::Kind::kUsage, "c.jsonl: line 4: ", [&] {
    ReadChunks(model, {text, "c.jsonl"}, 8, 0, nullptr);
  });
  ExpectError(Error::Kind::kFormat, "c.jsonl: line 4: not valid JSON", [&] {
    ReadChunks(model, {early + early + early + "{", "c.jsonl"}, 8, 1, nullptr);
  });
}

TEST_F(TextInputTest, KnowsJsonLinesByNameOrByTheFirst) {
  EXPECT_TRUE(IsJsonLines({"anything", "x.jsonl"}));
  EXPECT_TRUE(IsJsonLines({"\n{\"text\": \"x\"}\nrest", "x.txt"}));
  EXPECT_FALSE(IsJsonLines({"{curly} prose\n", "x.txt"}));
  EXPECT_FALSE(IsJsonLines({"prose\n{\"text\": \"x\"}", "x.txt"}));
}

// "w0 w1 ... " of words that differ for each seed.
std::string Words(int seed, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += "w" + std::to_string((i + 1) * 7919 * (seed + 1) % 100003) + " ";
  }
  return text;
}

TEST(OverlapTest, EstimatesTheShareOfATextThatIsInAnother) {
  const std::string calibration = Words(1, 30000);
  const TextSketch sketch = SketchOf(calibration);
  EXPECT_EQ(ShareIn(sketch, calibration), 1);
  EXPECT_LT(ShareIn(sketch, Words(2, 30000)), 0.01);
  const std::string half = Words(3, 15000) + calibration.substr(0, calibration.size() / 2);
  EXPECT_NEAR(ShareIn(sketch, half), 0.5, 0.12);
  EXPECT_EQ(ShareIn(SketchOf("few words"), calibration), 0);
  EXPECT_EQ(ShareIn(SketchOf(Words(4, 40)), Words(4, 40)), 1);
}

TEST(OverlapTest, IsKeptInTheFileAndTold) {
  Metadata metadata;
  const std::string text = Words(5, 4000);
  WriteRecord(RecordOf("some/folder/text.txt", text), metadata);
  const auto record = ReadRecord(metadata);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->name, "text.txt");
  Notes notes;
  NoteOverlap(record->sketch, Words(6, 4000), &notes);
  EXPECT_TRUE(notes.all.empty());
  NoteOverlap(record->sketch, text, &notes);
  ASSERT_EQ(notes.all.size(), 1u);
  EXPECT_NE(notes.all[0].find("100 %"), std::string::npos) << notes.all[0];
}

// Files may say anything: other types are no record, and a sketch has its length and order.
TEST(OverlapTest, TakesNoRecordOfAnotherKind) {
  EXPECT_FALSE(ReadRecord(Metadata()));
  Metadata metadata;
  metadata.Set("halftone.calibration.name", Value(std::string("text.txt")));
  EXPECT_FALSE(ReadRecord(metadata));
  metadata.Set("halftone.calibration.sketch", Array{std::vector<float>{1, 2}});
  EXPECT_FALSE(ReadRecord(metadata));
  std::vector<int64_t> falling(5000);
  for (size_t i = 0; i < falling.size(); ++i) falling[i] = 5000 - static_cast<int64_t>(i / 2);
  metadata.Set("halftone.calibration.sketch", Array{falling});
  const auto record = ReadRecord(metadata);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->sketch.least.size(), SketchOf(Words(1, 30000)).least.size());
  EXPECT_EQ(std::ranges::adjacent_find(record->sketch.least, std::ranges::greater_equal()),
            record->sketch.least.end());
  EXPECT_FALSE(record->sketch.whole);
}

}  // namespace
}  // namespace halftone
