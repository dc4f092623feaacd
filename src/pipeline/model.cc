// halftone::Model: an opened model with its tokenizer and one sequence.

#include "halftone/model.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "container/container.h"
#include "engine/generator.h"
#include "engine/session.h"
#include "pipeline/conversation.h"
#include "pipeline/load.h"

namespace halftone {
namespace {

constexpr int64_t kDefaultContext = 4096;

class OpenModel : public Model {
 public:
  OpenModel(const std::string& path, const LoadOptions& options)
      : loaded_(std::make_shared<const LoadedModel>(
            OpenToRun(path, options.precision, options.threads),
            std::shared_ptr<Ops>(MakeCpuOps(options.threads, options.activations)))),
        tokenizer_metadata_(TokenizerMetadata(loaded_->checkpoint)),
        tokenizer_(Tokenizer::FromMetadata(tokenizer_metadata_, path)),
        context_(options.context > 0
                     ? options.context
                     : std::min(kDefaultContext, loaded_->weights.parameters.context)),
        cache_grid_(GridNamed(options.kv_grid)),
        generator_(loaded_, *tokenizer_, context_, cache_grid_) {
    if (tokenizer_->vocabulary() > vocabulary()) {
      FailFormat("{}: the tokenizer has {} tokens but the embedding only {} rows", path,
                 tokenizer_->vocabulary(), vocabulary());
    }
  }

  std::string architecture() const override {
    return std::string(loaded_->weights.architecture->name);
  }
  int64_t vocabulary() const override { return loaded_->weights.parameters.vocabulary; }
  int64_t context() const override { return context_; }
  uint64_t weight_bytes() const override { return loaded_->weights.tensor_bytes; }

  std::vector<int32_t> Tokenize(std::string_view text, bool special) const override {
    return tokenizer_->Encode(text, special);
  }

  std::string Detokenize(const std::vector<int32_t>& tokens, bool special) const override {
    std::string text;
    for (const int32_t token : tokens) text += tokenizer_->TokenText(token, special);
    return text;
  }

  std::string ApplyChatTemplate(const std::vector<ChatMessage>& messages) const override {
    if (tokenizer_metadata_.String("tokenizer.chat_template") == nullptr) {
      FailUnsupported("{}: the model has no chat template; give a prompt with -p",
                      loaded_->checkpoint.path);
    }
    OrderedJson list = OrderedJson::array();
    for (const ChatMessage& message : messages) {
      list.push_back({{"role", message.role}, {"content", message.content}});
    }
    return RenderConversation(tokenizer_metadata_, *tokenizer_, list, true,
                              loaded_->checkpoint.path);
  }

  Generation Generate(const std::vector<int32_t>& prompt, int64_t max_tokens,
                      const SamplingOptions& sampling,
                      const std::function<bool(std::string_view)>& on_text) override {
    return generator_.Generate(prompt, max_tokens, sampling, on_text);
  }

  std::vector<float> Logits(const std::vector<int32_t>& tokens) override {
    const auto count = static_cast<int64_t>(tokens.size());
    std::vector<float> logits(static_cast<size_t>(count * vocabulary()));
    Session(loaded_, std::max<int64_t>(1, count), cache_grid_).Append(tokens, count, logits.data());
    return logits;
  }

 private:
  std::shared_ptr<const LoadedModel> loaded_;
  Metadata tokenizer_metadata_;
  std::unique_ptr<Tokenizer> tokenizer_;
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
