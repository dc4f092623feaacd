#include "pipeline/training_text.h"

#include <algorithm>

#include "base/error.h"
#include "pipeline/json_lines.h"
#include "pipeline/model_words.h"

namespace halftone {
namespace {

class Reader {
 public:
  Reader(const Checkpoint& model, const TextInput& input, int64_t context, bool refuse_long,
         Progress* progress)
      : input_(input),
        context_(context),
        refuse_long_(refuse_long),
        words_(model, input, progress) {}

  void ReadPlainText() {
    std::vector<int32_t> tokens = words_.Encode(input_.text);
    const bool bos = tokenizer().add_bos() && !tokens.empty() && tokens[0] == tokenizer().bos();
    if (bos) tokens.erase(tokens.begin());
    const int64_t each = context_ - (bos ? 1 : 0);
    for (int64_t begin = 0; begin < std::ssize(tokens); begin += each) {
      const int64_t size = std::min(each, std::ssize(tokens) - begin);
      TrainingExample example;
      if (bos) example.tokens.push_back(tokenizer().bos());
      example.tokens.insert(example.tokens.end(), tokens.begin() + begin,
                            tokens.begin() + begin + size);
      example.scored.assign(example.tokens.size(), 1);
      Keep(std::move(example));
    }
  }

  void ReadLine(const JsonLine& line, int64_t number) {
    TrainingExample example;
    if (line.messages.empty()) {
      example.tokens = words_.Encode(line.text);
      AddEnd(example.tokens);
      example.scored.assign(example.tokens.size(), 1);
    } else {
      example = Conversation(line, number);
    }
    if (std::ssize(example.tokens) > context_) {
      if (refuse_long_) {
        FailUsage("{}: line {}: {} tokens are more than the context of {}", input_.name, number,
                  example.tokens.size(), context_);
      }
      ++text.truncated;
      example.tokens.resize(static_cast<size_t>(context_));
      example.scored.resize(static_cast<size_t>(context_));
    }
    Keep(std::move(example));
  }

  TrainingText text;

 private:
  const Tokenizer& tokenizer() const { return words_.tokenizer(); }

  void AddEnd(std::vector<int32_t>& tokens) const {
    if (tokenizer().eos() >= 0 && (tokens.empty() || tokens.back() != tokenizer().eos())) {
      tokens.push_back(tokenizer().eos());
    }
  }

  void Keep(TrainingExample example) {
    if (example.count() == 0) {
      ++text.dropped;
      return;
    }
    text.examples.push_back(std::move(example));
  }

  // The first `count` messages; with `open` up to where the assistant begins to speak.
  std::vector<int32_t> Beginning(const JsonLine& line, size_t count, bool open,
                                 int64_t number) const {
    JsonLine part;
    for (size_t i = 0; i < count; ++i) part.messages.push_back(line.messages[i]);
    if (!words_.has_template()) {
      std::vector<int32_t> tokens = words_.Encode(ContentsOf(part));
      if (!open && count == line.messages.size()) AddEnd(tokens);
      return tokens;
    }
    if (part.messages.empty()) return {};
    return words_.Encode(words_.Render(part.messages, open, number));
  }

  TrainingExample Conversation(const JsonLine& line, int64_t number) const {
    const size_t messages = line.messages.size();
    TrainingExample example;
    example.tokens = Beginning(line, messages, false, number);
    example.scored.assign(example.tokens.size(), 0);
    const auto common = [&](const std::vector<int32_t>& beginning) {
      return std::ranges::mismatch(beginning, example.tokens).in2 - example.tokens.begin();
    };
    for (size_t i = 0; i < messages; ++i) {
      if (line.messages[i]["role"] != "assistant") continue;
      const auto begin = common(Beginning(line, i, true, number));
      const auto end = i + 1 == messages ? std::ssize(example.tokens)
                                         : common(Beginning(line, i + 1, false, number));
      for (auto t = begin; t < end; ++t) example.scored[static_cast<size_t>(t)] = 1;
    }
    return example;
  }

  const TextInput& input_;
  int64_t context_;
  bool refuse_long_;
  ModelWords words_;
};

}  // namespace

TrainingText ReadTrainingText(const Checkpoint& model, const TextInput& input, int64_t context,
                              bool refuse_long, Progress* progress) {
  if (context < 2) FailUsage("a context of {} tokens holds nothing to learn", context);
  Reader reader(model, input, context, refuse_long, progress);
  if (IsJsonLines(input)) {
    ForEachJsonLine(input,
                    [&](const JsonLine& line, int64_t number) { reader.ReadLine(line, number); });
  } else {
    reader.ReadPlainText();
  }
  if (reader.text.examples.empty()) {
    FailUsage("{}: holds nothing to train on{}", input.name,
              reader.text.dropped > 0 ? ": no answer of an assistant is within the context" : "");
  }
  return std::move(reader.text);
}

}  // namespace halftone
