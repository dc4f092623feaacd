// tokenizer.model, the file of SentencePiece.
//
// A message of protocol buffers. What is read of it, by field number:
//
//   ModelProto      1 pieces (repeated)  2 trainer_spec  3 normalizer_spec
//   SentencePiece   1 piece (string)  2 score (float)  3 type (TokenType; absent: normal)
//   TrainerSpec     3 model_type (1 unigram, 2 bpe, 3 word, 4 char)
//                   24 treat_whitespace_as_suffix  35 byte_fallback
//                   40 unk_id  41 bos_id  42 eos_id  43 pad_id (-1: none)
//   NormalizerSpec  2 precompiled_charsmap (bytes)  3 add_dummy_prefix
//                   4 remove_extra_whitespaces  5 escape_whitespaces
//
// Fields of other numbers are skipped; of one that occurs twice the last counts.
//
// Source: sentencepiece_model.proto in github.com/google/sentencepiece, which has the defaults too.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace halftone {

struct SpmPiece {
  std::string text;
  float score = 0;
  TokenType type = TokenType::kNormal;
};

struct SpmModel {
  enum class Kind : uint8_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

  std::vector<SpmPiece> pieces;
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool space_as_suffix = false;
  int32_t unknown = 0, bos = 1, eos = 2, pad = -1;  // ids
  std::string character_map;
  bool add_space_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
};

// Throws Error (kFormat), naming `source` and the byte, for what is no such message.
SpmModel ReadSpmModel(std::string_view bytes, const std::string& source);

}  // namespace halftone
