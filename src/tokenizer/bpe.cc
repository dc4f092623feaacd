// Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2's form, Radford et al. 2019).
//
// The text is cut into pieces (pre_tokenizer.h). A piece begins as its bytes; as long as two
// neighbours form a merge, the pair of the lowest rank, the leftmost of equals, becomes one symbol.
// Short pieces search all pairs for the lowest each time; long ones keep them in a heap, so that a
// piece of n bytes costs O(n log n). Bytes that are not valid UTF-8 form pieces of their own.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/merge_table.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace halftone {
namespace {

constexpr size_t kShortPiece = 48;
// Values of tokenizer.ggml.pre whose tokens are text and not bytes.
constexpr std::string_view kTextNames[] = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"};
// Words repeat: an encoding remembers its short pieces, up to this many.
constexpr size_t kRememberedPieces = size_t{1} << 16;

const std::vector<std::string>& Merges(const Metadata& metadata, const std::string& source) {
  const auto* merges = metadata.Strings("tokenizer.ggml.merges");
  if (merges == nullptr) FailFormat("{}: tokenizer.ggml.merges is missing", source);
  return *merges;
}

PreTokenizer ReadPreTokenizer(const Metadata& metadata, const std::string& source) {
  const std::string* name = metadata.String("tokenizer.ggml.pre");
  return PreTokenizer(name ? *name : "default", source);
}

class BpeTokenizer : public VocabularyTokenizer {
 public:
  BpeTokenizer(const Metadata& metadata, PreTokenizer pre_tokenizer, const std::string& source)
      // 11 is what llama.cpp assumes for files without bos and eos.
      : VocabularyTokenizer(metadata, {.bos = 11, .eos = 11, .add_bos = pre_tokenizer.add_bos()},
                            source),
        pre_tokenizer_(std::move(pre_tokenizer)),
        merges_(vocabulary_, Merges(metadata, source), source) {}

 protected:
  struct BpeWorkspace : Workspace {
    RegexMatcher matcher;
    std::string subject;
    std::string alphabet;
    std::vector<int32_t> symbols;
    // The heap's view of a long piece: links between the places that still hold a symbol, the rank
    // of the pair that begins at each, and (rank, place) pairs that may be out of date.
    std::vector<int32_t> next;
    std::vector<int32_t> previous;
    std::vector<int32_t> ranks;
    std::vector<uint64_t> heap;
    std::unordered_map<std::string_view, std::pair<size_t, size_t>> known;  // range of `ids`
  };

  std::unique_ptr<Workspace> NewWorkspace() const override {
    return std::make_unique<BpeWorkspace>();
  }

  void EncodeFragment(std::string_view text, bool first, Workspace& workspace,
                      std::vector<int32_t>& ids) const override;
  std::string DecodeText(const std::string& text) const override {
    return DecodeByteAlphabet(text);
  }

 private:
  void EncodePiece(std::string_view piece, BpeWorkspace& w, std::vector<int32_t>& ids) const;
  void MergeShort(std::vector<int32_t>& symbols) const;
  void MergeLong(BpeWorkspace& w) const;
  void Emit(int32_t symbol, std::vector<int32_t>& ids) const;

  const PreTokenizer pre_tokenizer_;
  const MergeTable merges_;
};

void BpeTokenizer::EncodeFragment(std::string_view text, bool, Workspace& workspace,
                                  std::vector<int32_t>& ids) const {
  auto& w = static_cast<BpeWorkspace&>(workspace);
  if (text.size() > INT32_MAX) FailUnsupported("text of {} bytes is too long", text.size());
  for (size_t at = 0; at < text.size();) {
    const bool valid = DecodeUtf8(text, at).valid;
    size_t end = at;
    while (end < text.size()) {
      const Utf8Char c = DecodeUtf8(text, end);
      if (c.valid != valid) break;
      end += c.bytes;
    }
    const std::string_view run = text.substr(at, end - at);
    if (valid) {
      w.subject.assign(run);
      ReplaceNewerCharacters(w.subject);
      pre_tokenizer_.Split(w.subject, w.matcher, [&](size_t begin, size_t stop) {
        EncodePiece(run.substr(begin, stop - begin), w, ids);
      });
    } else {
      EncodePiece(run, w, ids);
    }
    at = end;
  }
}

void BpeTokenizer::EncodePiece(std::string_view piece, BpeWorkspace& w,
                               std::vector<int32_t>& ids) const {
  const bool is_short = piece.size() <= kShortPiece;
  if (is_short) {
    const auto it = w.known.find(piece);
    if (it != w.known.end()) {
      const auto [begin, count] = it->second;
      for (size_t i = 0; i < count; ++i) ids.push_back(ids[begin + i]);
      return;
    }
  }
  const size_t begin = ids.size();
  int32_t whole = -1;
  if (pre_tokenizer_.ignore_merges()) {
    w.alphabet.clear();
    for (const char c : piece) AppendUtf8(kByteCharacters[static_cast<uint8_t>(c)], w.alphabet);
    whole = vocabulary_.Find(w.alphabet);
  }
  if (whole >= 0) {
    ids.push_back(whole);
  } else {
    w.symbols.clear();
    for (const char c : piece) w.symbols.push_back(merges_.Byte(static_cast<uint8_t>(c)));
    if (is_short) {
      MergeShort(w.symbols);
    } else {
      MergeLong(w);
    }
    for (const int32_t symbol : w.symbols) Emit(symbol, ids);
  }
  if (is_short && w.known.size() < kRememberedPieces) {
    w.known.emplace(piece, std::pair(begin, ids.size() - begin));
  }
}

void BpeTokenizer::MergeShort(std::vector<int32_t>& symbols) const {
  Merge pairs[kShortPiece];
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) pairs[i] = merges_.Find(symbols[i], symbols[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == INT32_MAX) break;
    symbols[best] = pairs[best].result;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2,
              symbols.begin() + static_cast<ptrdiff_t>(n),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(pairs + best + 1, pairs + n - 1, pairs + best);
    --n;
    if (best > 0) pairs[best - 1] = merges_.Find(symbols[best - 1], symbols[best]);
    if (best + 1 < n) pairs[best] = merges_.Find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(n);
}

void BpeTokenizer::MergeLong(BpeWorkspace& w) const {
  constexpr int32_t kGone = -1;  // of a symbol that was merged into the one before it
  const auto n = static_cast<int32_t>(w.symbols.size());
  w.next.resize(n);
  w.previous.resize(n);
  w.ranks.assign(n, INT32_MAX);
  w.heap.clear();
  const auto entry = [&](int32_t at) {
    return static_cast<uint64_t>(w.ranks[at]) << 32 | static_cast<uint32_t>(at);
  };
  for (int32_t i = 0; i < n; ++i) {
    w.next[i] = i + 1 < n ? i + 1 : -1;
    w.previous[i] = i - 1;
    if (i + 1 == n) break;
    w.ranks[i] = merges_.Find(w.symbols[i], w.symbols[i + 1]).rank;
    if (w.ranks[i] != INT32_MAX) w.heap.push_back(entry(i));
  }
  std::ranges::make_heap(w.heap, std::greater<>());
  const auto update = [&](int32_t at) {
    if (at < 0) return;
    const int32_t right = w.next[at];
    w.ranks[at] = right < 0 ? INT32_MAX : merges_.Find(w.symbols[at], w.symbols[right]).rank;
    if (w.ranks[at] == INT32_MAX) return;
    w.heap.push_back(entry(at));
    std::ranges::push_heap(w.heap, std::greater<>());
  };
  while (!w.heap.empty()) {
    std::ranges::pop_heap(w.heap, std::greater<>());
    const uint64_t top = w.heap.back();
    w.heap.pop_back();
    const auto at = static_cast<int32_t>(top & UINT32_MAX);
    if (w.symbols[at] == kGone || w.ranks[at] != static_cast<int32_t>(top >> 32)) continue;
    const int32_t right = w.next[at];
    w.symbols[at] = merges_.Find(w.symbols[at], w.symbols[right]).result;
    w.symbols[right] = kGone;
    w.ranks[right] = INT32_MAX;
    w.next[at] = w.next[right];
    if (w.next[at] >= 0) w.previous[w.next[at]] = at;
    update(w.previous[at]);
    update(at);
  }
  std::erase(w.symbols, kGone);
}

void BpeTokenizer::Emit(int32_t symbol, std::vector<int32_t>& ids) const {
  if (symbol < vocabulary_.size()) {
    ids.push_back(symbol);
    return;
  }
  // No token: its bytes one by one, and the unknown token for those that the vocabulary lacks.
  for (const char c : merges_.ExtraBytes(symbol)) {
    const int32_t byte = merges_.Byte(static_cast<uint8_t>(c));
    const int32_t id = byte < vocabulary_.size() ? byte : vocabulary_.unknown();
    if (id >= 0) ids.push_back(id);
  }
}

}  // namespace

std::unique_ptr<Tokenizer> NewBpeTokenizer(const Metadata& metadata, const std::string& source) {
  const std::string* pre = metadata.String("tokenizer.ggml.pre");
  if (pre != nullptr && std::ranges::find(kTextNames, *pre) != std::end(kTextNames)) {
    return NewMergedSpmTokenizer(metadata, source);
  }
  return std::make_unique<BpeTokenizer>(metadata, ReadPreTokenizer(metadata, source), source);
}

}  // namespace halftone
