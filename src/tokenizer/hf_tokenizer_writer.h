// tokenizer.ggml.* to tokenizer.json and its companions: the reverse of hf_tokenizer.cc, for models
// that came as GGUF.
//
// Every token keeps its id because all of them stand in the model's vocabulary, the special ones
// too, and again among the added tokens. Byte-level vocabularies ("gpt2") get the steps of their
// pre-tokenizer as Split, Digits, Punctuation and ByteLevel. SentencePiece's ("llama") become pairs
// with byte fallback, as transformers' converter makes them: one merge for every cut of a token
// into two others, those of the token with the highest score first.

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tensor/metadata.h"

namespace halftone {

// tokenizer.json, tokenizer_config.json and special_tokens_map.json; none where the metadata say
// that there is no tokenizer. context: tokens that the model was trained for. Throws Error
// (kUnsupported), naming `source`, for vocabularies that tokenizer.json cannot express.
std::map<std::string, std::string> HfTokenizerDocuments(const Metadata& metadata, int64_t context,
                                                        const std::string& source);

}  // namespace halftone
