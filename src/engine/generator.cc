#include "engine/generator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/seconds.h"
#include "engine/sampler.h"

namespace halftone {
namespace {

// Bytes of the sequence that `lead` begins; 1 for a byte that begins none.
size_t SequenceLength(uint8_t lead) {
  if (lead >= 0xF0 && lead < 0xF8) return 4;
  if (lead >= 0xE0) return lead < 0xF0 ? 3 : 1;
  return lead >= 0xC0 ? 2 : 1;
}

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  pending_ += bytes;
  // Only the last sequence can be incomplete: look back at most three bytes for its lead.
  size_t keep = 0;
  for (size_t back = 1; back <= std::min<size_t>(3, pending_.size()); ++back) {
    const auto byte = static_cast<uint8_t>(pending_[pending_.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    if (SequenceLength(byte) > back) keep = back;
    break;
  }
  std::string ready = pending_.substr(0, pending_.size() - keep);
  pending_.erase(0, ready.size());
  return ready;
}

std::string Utf8Stream::Finish() { return std::exchange(pending_, {}); }

StopTexts::StopTexts(std::vector<std::string> texts) : texts_(std::move(texts)) {
  if (std::ranges::any_of(texts_, &std::string::empty)) FailUsage("a stop text is empty");
}

std::string StopTexts::Push(std::string_view text) {
  if (found_) return {};
  pending_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : texts_) first = std::min(first, pending_.find(stop));
  if (first != std::string::npos) {
    found_ = true;
    pending_.resize(first);
    return std::exchange(pending_, {});
  }
  // The longest end that begins one of them.
  size_t keep = 0;
  for (const std::string& stop : texts_) {
    for (size_t n = std::min(stop.size() - 1, pending_.size()); n > keep; --n) {
      if (pending_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
    }
  }
  std::string ready = pending_.substr(0, pending_.size() - keep);
  pending_.erase(0, ready.size());
  return ready;
}

std::string StopTexts::Finish() { return std::exchange(pending_, {}); }

// The sequence is kept whole, so that it can be read again when another one took the cache.
class SequenceContinuation : public Continuation {
 public:
  SequenceContinuation(Generator& generator, std::span<const int32_t> prompt,
                       const GenerateOptions& options)
      : generator_(generator),
        sequence_(prompt.begin(), prompt.end()),
        sampler_(options.sampling),
        stop_texts_(options.stop_texts),
        max_tokens_(options.max_tokens),
        progress_(options.progress) {
    const int64_t context = generator.session_.context();
    made_.prompt_tokens = std::ssize(sequence_);
    if (sequence_.empty()) FailUsage("the prompt is empty");
    if (made_.prompt_tokens > context) {
      FailUsage("the prompt has {} tokens, the context holds {}", made_.prompt_tokens, context);
    }
  }

  std::optional<std::string> Next() override {
    if (!made_.stop.empty()) return std::nullopt;
    if (!prompt_read_) {
      const auto start = std::chrono::steady_clock::now();
      generator_.Read(sequence_, progress_);
      made_.prompt_seconds = SecondsSince(start);
    }
    const auto start = std::chrono::steady_clock::now();
    std::string text = Step();
    made_.seconds += SecondsSince(start);
    made_.text += text;
    return text;
  }

  const Generation& made() const override { return made_; }

  void Stop() {
    if (made_.stop.empty()) made_.stop = "stopped";
  }

 private:
  std::string Step() {
    if (made_.tokens >= max_tokens_ || std::ssize(sequence_) > generator_.session_.context()) {
      return End("length");
    }
    if (prompt_read_) generator_.Read(sequence_, progress_);
    prompt_read_ = true;
    const int32_t token = sampler_.Next(generator_.logits_);
    made_.ids.push_back(token);
    if (generator_.tokenizer_.IsEndOfGeneration(token)) return End("end");
    sequence_.push_back(token);
    ++made_.tokens;
    const std::string bytes = generator_.tokenizer_.TokenText(token, false);
    std::string text = stop_texts_.Push(utf8_.Push(bytes));
    if (stop_texts_.found()) made_.stop = "text";
    return text;
  }

  // What was held back becomes text.
  std::string End(const char* why) {
    std::string text = stop_texts_.Push(utf8_.Finish());
    text += stop_texts_.Finish();
    made_.stop = stop_texts_.found() ? "text" : why;
    return text;
  }

  Generator& generator_;
  std::vector<int32_t> sequence_;  // the prompt and what follows it
  bool prompt_read_ = false;
  Sampler sampler_;
  Utf8Stream utf8_;
  StopTexts stop_texts_;
  int64_t max_tokens_;
  Progress* progress_;
  Generation made_;
};

Generator::Generator(std::shared_ptr<const LoadedModel> model, const Tokenizer& tokenizer,
                     int64_t context, const Grid& cache_grid)
    : tokenizer_(tokenizer),
      session_(std::move(model), context, cache_grid),
      logits_(static_cast<size_t>(session_.model().weights.parameters.vocabulary)) {
  for (int32_t id = 0; id < static_cast<int32_t>(logits_.size()); ++id) {
    if (tokenizer.IsPadding(id)) padding_.push_back(id);
  }
}

Generation Generator::Generate(std::span<const int32_t> prompt, int64_t max_tokens,
                               const SamplingOptions& sampling,
                               const std::function<bool(std::string_view)>& on_text) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling = sampling;
  SequenceContinuation continuation(*this, prompt, options);
  while (const std::optional<std::string> text = continuation.Next()) {
    if (!text->empty() && on_text && !on_text(*text)) continuation.Stop();
  }
  return continuation.made();
}

std::unique_ptr<Continuation> Generator::Continue(std::span<const int32_t> prompt,
                                                  const GenerateOptions& options) {
  return std::make_unique<SequenceContinuation>(*this, prompt, options);
}

void Generator::Read(std::span<const int32_t> tokens, Progress* progress) {
  // At least the last token is read again: its logits are needed.
  int64_t same = std::ranges::mismatch(tokens, held_).in1 - tokens.begin();
  same = std::min(same, std::ssize(tokens) - 1);
  session_.Rewind(same);
  held_.resize(static_cast<size_t>(same));
  const WatchedOps watched(*session_.model().ops, progress);
  session_.Append(tokens.subspan(same), 1, logits_.data());
  for (const int32_t id : padding_) logits_[id] = -INFINITY;
  held_.insert(held_.end(), tokens.begin() + same, tokens.end());
}

}  // namespace halftone
