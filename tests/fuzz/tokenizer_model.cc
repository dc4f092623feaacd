// tokenizer.model of SentencePiece: the translation to GGUF's metadata and the tokenizer that comes
// of it, whose normalizer is data of the file as well.

#include "tests/fuzz/targets.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

void Fuzz_tokenizer_model(std::string_view bytes) {
  MayRefuse([&] {
    const std::map<std::string, std::string> documents = {{"tokenizer.model", std::string(bytes)}};
    const Metadata metadata = TokenizerMetadataFromHf(documents, 0, "folder");
    const auto tokenizer = Tokenizer::FromMetadata(metadata, "folder");
    for (const bool special : {false, true}) {
      for (const int32_t id : tokenizer->Encode("  A text,\t12  \xC3\xA9\xFF <s>a", special)) {
        tokenizer->TokenText(id, special);
      }
    }
  });
}

}  // namespace halftone
