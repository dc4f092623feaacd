#include "pipeline/model_tokenizer.h"

#include <utility>

#include "base/error.h"
#include "container/container.h"
#include "engine/session.h"
#include "model/text_model.h"
#include "pipeline/conversation.h"

namespace halftone {

std::unique_ptr<CheckpointTokenizer> CheckpointTokenizer::Of(const Checkpoint& checkpoint) {
  Metadata metadata = TokenizerMetadata(checkpoint);
  const std::string* model = metadata.String("tokenizer.ggml.model");
  if (model == nullptr || *model == "none" || *model == "no_vocab") return nullptr;
  return std::unique_ptr<CheckpointTokenizer>(
      new CheckpointTokenizer(checkpoint.path, std::move(metadata)));
}

CheckpointTokenizer::CheckpointTokenizer(std::string source, Metadata metadata)
    : source_(std::move(source)),
      metadata_(std::move(metadata)),
      tokenizer_(Tokenizer::FromMetadata(metadata_, source_)) {
  // What stands around an empty text stands around every text.
  const size_t frame = tokenizer_->Encode("", true).size();
  before_ = tokenizer_->add_bos() && frame > 0 ? 1 : 0;
  after_ = frame - before_;
  const std::vector<int32_t> letter = tokenizer_->Encode("a", false);
  puts_space_ = !letter.empty() && tokenizer_->TokenText(letter.front(), false).starts_with(' ');
}

std::vector<int32_t> CheckpointTokenizer::Encode(std::string_view text, bool frame) const {
  std::vector<int32_t> ids = tokenizer_->Encode(text, true);
  if (frame) return ids;
  ids.erase(ids.end() - static_cast<int64_t>(after_), ids.end());
  ids.erase(ids.begin(), ids.begin() + static_cast<int64_t>(before_));
  return ids;
}

std::string CheckpointTokenizer::Decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::string text;
  for (const int32_t id : ids) text += tokenizer_->TokenText(id, !skip_special);
  if (puts_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string CheckpointTokenizer::chat_template() const {
  const std::string* text = metadata_.String("tokenizer.chat_template");
  return text == nullptr ? std::string() : *text;
}

std::string CheckpointTokenizer::ApplyChatTemplate(std::string_view variables) const {
  OrderedJson json = OrderedJson::parse(variables, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) FailUsage("the variables of a chat template must be a JSON object");
  return Render(std::move(json));
}

std::string CheckpointTokenizer::Render(OrderedJson variables) const {
  return RenderTemplate(metadata_, *tokenizer_, std::move(variables), source_);
}

std::unique_ptr<ModelTokenizer> ModelTokenizer::Open(const std::string& path) {
  const Checkpoint checkpoint = TextModelOf(OpenCheckpoint(path));
  auto tokenizer = CheckpointTokenizer::Of(checkpoint);
  if (tokenizer == nullptr) FailUnsupported("{}: the model has no tokenizer", path);
  return tokenizer;
}

}  // namespace halftone
