// RWKV's tokenizer: from the left, always the longest token that the text begins with.
//
// Tokens are bytes, written with \t, \n, \r, \xHH and a backslash before whatever else. A byte that
// begins no token is an unknown one.
//
// Source: github.com/BlinkDL/ChatRWKV, tokenizer/rwkv_tokenizer.py; the escapes are llama.cpp's.

#include "tokenizer/byte_trie.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string Unescaped(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      bytes += text[at];
      continue;
    }
    const char c = text[++at];
    const int high = c == 'x' && at + 2 < text.size() ? HexDigit(text[at + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[at + 2]) : -1;
    if (low >= 0) {
      bytes += static_cast<char>(high << 4 | low);
      at += 2;
    } else {
      bytes += c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
    }
  }
  return bytes;
}

class RwkvTokenizer : public VocabularyTokenizer {
 public:
  RwkvTokenizer(const Metadata& metadata, const std::string& source)
      : VocabularyTokenizer(metadata, {}, source) {
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      trie_.Insert(Unescaped(vocabulary_.text(id)), id);
    }
  }

 protected:
  std::unique_ptr<Workspace> NewWorkspace() const override { return std::make_unique<Workspace>(); }

  void EncodeFragment(std::string_view text, bool, Workspace&,
                      std::vector<int32_t>& ids) const override {
    while (!text.empty()) {
      const ByteTrie::Match match = trie_.Longest(text);
      const int32_t id = match.bytes > 0 ? match.token : vocabulary_.unknown();
      if (id >= 0) ids.push_back(id);
      text.remove_prefix(match.bytes > 0 ? match.bytes : 1);
    }
  }
  std::string DecodeText(const std::string& text) const override { return Unescaped(text); }

 private:
  ByteTrie trie_;
};

}  // namespace

std::unique_ptr<Tokenizer> NewRwkvTokenizer(const Metadata& metadata, const std::string& source) {
  return std::make_unique<RwkvTokenizer>(metadata, source);
}

}  // namespace halftone
