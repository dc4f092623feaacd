// tokenizer.json and, after a NUL, tokenizer_config.json: the translation to GGUF's metadata and
// the tokenizer that comes of it.

#include "tests/fuzz/targets.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

void Fuzz_tokenizer_json(std::string_view bytes) {
  const size_t end = bytes.find('\0');
  std::map<std::string, std::string> documents;
  documents["tokenizer.json"] = bytes.substr(0, end);
  if (end != std::string_view::npos) documents["tokenizer_config.json"] = bytes.substr(end + 1);
  MayRefuse([&] {
    const Metadata metadata = TokenizerMetadataFromHf(documents, 0, "folder");
    const auto tokenizer = Tokenizer::FromMetadata(metadata, "folder");
    for (const bool special : {false, true}) {
      for (const int32_t id : tokenizer->Encode("A text, 12345 \xC3\xA9\xFF <s>", special)) {
        tokenizer->TokenText(id, special);
      }
    }
  });
}

}  // namespace halftone
