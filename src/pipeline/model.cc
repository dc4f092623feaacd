// halftone::Model: an opened model with its tokenizer and one sequence.

#include "halftone/model.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "container/container.h"
#include "engine/generator.h"
#include "engine/session.h"
#include "pipeline/adapter_files.h"
#include "pipeline/conversation.h"
#include "pipeline/load.h"
#include "pipeline/model_tokenizer.h"

namespace halftone {
namespace {

constexpr int64_t kDefaultContext = 4096;

// Of a model without a tokenizer: it runs on token ids, which have no text and never end a turn.
class NoTokenizer : public Tokenizer {
 public:
  NoTokenizer(std::string source, int64_t vocabulary)
      : source_(std::move(source)), vocabulary_(vocabulary) {}

  std::vector<int32_t> Encode(std::string_view, bool) const override { Fail(); }
  std::string TokenText(int32_t, bool) const override { return {}; }
  int64_t vocabulary() const override { return vocabulary_; }
  int32_t bos() const override { return -1; }
  int32_t eos() const override { return -1; }
  bool add_bos() const override { return false; }
  bool IsEndOfGeneration(int32_t) const override { return false; }
  bool IsPadding(int32_t) const override { return false; }

  [[noreturn]] void Fail() const { FailUnsupported("{}: the model has no tokenizer", source_); }

 private:
  std::string source_;
  int64_t vocabulary_;
};

class OpenModel : public Model {
 public:
  OpenModel(const std::string& path, const LoadOptions& options)
      : loaded_(LoadToRun(OpenToRun(path, options.precision, options.threads, options.progress),
                          options.adapter,
                          std::shared_ptr<Ops>(
                              MakeCpuOps(options.threads, options.activations, options.progress)))),
        words_(CheckpointTokenizer::Of(loaded_->checkpoint)),
        no_words_(path, vocabulary()),
        context_(options.context > 0
                     ? options.context
                     : std::min(kDefaultContext, loaded_->weights.parameters.context)),
        cache_grid_(GridNamed(options.kv_grid)),
        generator_(loaded_, internal_tokenizer(), context_, cache_grid_) {
    loaded_->ops->Watch(nullptr);  // who asked for the model need not outlive this call
    if (internal_tokenizer().vocabulary() > vocabulary()) {
      FailFormat("{}: the tokenizer has {} tokens but the embedding only {} rows", path,
                 internal_tokenizer().vocabulary(), vocabulary());
    }
  }

  std::string architecture() const override {
    return std::string(loaded_->weights.architecture->name);
  }
  int64_t vocabulary() const override { return loaded_->weights.parameters.vocabulary; }
  int64_t context() const override { return context_; }
  uint64_t weight_bytes() const override { return loaded_->weights.tensor_bytes; }

  const ModelTokenizer& tokenizer() const override {
    if (words_ == nullptr) no_words_.Fail();
    return *words_;
  }

  std::vector<int32_t> Tokenize(std::string_view text, bool special) const override {
    return internal_tokenizer().Encode(text, special);
  }

  std::string Detokenize(const std::vector<int32_t>& tokens, bool special) const override {
    std::string text;
    for (const int32_t token : tokens) text += internal_tokenizer().TokenText(token, special);
    return text;
  }

  std::string ApplyChatTemplate(const std::vector<ChatMessage>& messages) const override {
    if (words_ == nullptr || words_->chat_template().empty()) {
      FailUnsupported("{}: the model has no chat template; give a prompt with -p",
                      loaded_->checkpoint.path);
    }
    OrderedJson list = OrderedJson::array();
    for (const ChatMessage& message : messages) {
      list.push_back({{"role", message.role}, {"content", message.content}});
    }
    return words_->Render({{"messages", std::move(list)}, {"add_generation_prompt", true}});
  }

  Generation Generate(const std::vector<int32_t>& prompt, int64_t max_tokens,
                      const SamplingOptions& sampling,
                      const std::function<bool(std::string_view)>& on_text) override {
    return generator_.Generate(prompt, max_tokens, sampling, on_text);
  }

  std::unique_ptr<Continuation> Continue(const std::vector<int32_t>& prompt,
                                         const GenerateOptions& options) override {
    return generator_.Continue(prompt, options);
  }

  std::vector<float> Logits(const std::vector<int32_t>& tokens, Progress* progress) override {
    const auto count = static_cast<int64_t>(tokens.size());
    std::vector<float> logits(static_cast<size_t>(count * vocabulary()));
    const WatchedOps watched(*loaded_->ops, progress);
    Session(loaded_, std::max<int64_t>(1, count), cache_grid_).Append(tokens, count, logits.data());
    return logits;
  }

 private:
  const Tokenizer& internal_tokenizer() const {
    return words_ == nullptr ? static_cast<const Tokenizer&>(no_words_) : words_->tokenizer();
  }

  std::shared_ptr<const LoadedModel> loaded_;
  std::unique_ptr<const CheckpointTokenizer> words_;  // null: there is none
  NoTokenizer no_words_;
  int64_t context_;
  const Grid& cache_grid_;
  Generator generator_;
};

}  // namespace

std::unique_ptr<Model> Model::Open(const std::string& path, const LoadOptions& options) {
  return std::make_unique<OpenModel>(path, options);
}

std::vector<int32_t> Tokenize(const std::string& path, std::string_view text, bool special) {
  return MakeTokenizer(OpenCheckpoint(path))->Encode(text, special);
}

}  // namespace halftone
