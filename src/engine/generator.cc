#include "engine/generator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "engine/sampler.h"

namespace halftone {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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
  const auto count = static_cast<int64_t>(prompt.size());
  if (count == 0) FailUsage("the prompt is empty");
  if (count > session_.context()) {
    FailUsage("the prompt has {} tokens, the context holds {}", count, session_.context());
  }
  Sampler sampler(sampling);
  Generation result;
  result.prompt_tokens = count;

  auto start = std::chrono::steady_clock::now();
  // At least the last prompt token is read again: its logits are needed.
  int64_t same = std::ranges::mismatch(prompt, held_).in1 - prompt.begin();
  same = std::min(same, count - 1);
  session_.Rewind(same);
  held_.assign(prompt.begin(), prompt.begin() + same);
  const auto append = [&](std::span<const int32_t> tokens) {
    session_.Append(tokens, 1, logits_.data());
    for (const int32_t id : padding_) logits_[id] = -INFINITY;
    held_.insert(held_.end(), tokens.begin(), tokens.end());
  };
  append(prompt.subspan(same));
  result.prompt_seconds = SecondsSince(start);

  start = std::chrono::steady_clock::now();
  Utf8Stream stream;
  const auto show = [&](const std::string& text) {
    result.text += text;
    return text.empty() || !on_text || on_text(text);
  };
  result.stop = "length";
  while (result.tokens < max_tokens) {
    const int32_t token = sampler.Next(logits_);
    if (tokenizer_.IsEndOfGeneration(token)) {
      result.stop = "end";
      break;
    }
    ++result.tokens;
    if (!show(stream.Push(tokenizer_.TokenText(token, false)))) {
      result.stop = "stopped";
      break;
    }
    if (result.tokens == max_tokens || session_.position() == session_.context()) break;
    append(std::span(&token, 1));
  }
  if (!show(stream.Finish())) result.stop = "stopped";
  result.seconds = SecondsSince(start);
  return result;
}

}  // namespace halftone
