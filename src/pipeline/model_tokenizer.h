// halftone::ModelTokenizer: a checkpoint's tokenizer with its chat template.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "halftone/tokenizer.h"
#include "tensor/checkpoint.h"
#include "tensor/metadata.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

class CheckpointTokenizer : public ModelTokenizer {
 public:
  // Null where the checkpoint holds no tokenizer. Throws Error for one of an unknown kind.
  static std::unique_ptr<CheckpointTokenizer> Of(const Checkpoint& checkpoint);

  const Tokenizer& tokenizer() const { return *tokenizer_; }

  int64_t vocabulary() const override { return tokenizer_->vocabulary(); }
  int32_t bos() const override { return tokenizer_->bos(); }
  int32_t eos() const override { return tokenizer_->eos(); }
  bool EndsGeneration(int32_t id) const override { return tokenizer_->IsEndOfGeneration(id); }
  std::vector<int32_t> Encode(std::string_view text, bool frame) const override;
  std::string Decode(const std::vector<int32_t>& ids, bool skip_special) const override;
  std::string chat_template() const override;
  std::string ApplyChatTemplate(std::string_view variables) const override;

  // The same of parsed JSON.
  std::string Render(OrderedJson variables) const;

 private:
  CheckpointTokenizer(std::string source, Metadata metadata);

  std::string source_;
  Metadata metadata_;
  std::unique_ptr<Tokenizer> tokenizer_;
  size_t before_, after_;  // tokens that are put around a text
  bool puts_space_;        // in front of a text
};

}  // namespace halftone
