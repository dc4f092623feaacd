#include "evaluation/speed.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/seconds.h"
#include "engine/batch.h"
#include "engine/cancel_tap.h"

namespace halftone {
namespace {

using Clock = std::chrono::steady_clock;

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Tokens of a prompt that are read at once.
constexpr int64_t kPromptTokens = 512;

// Token ids that visit the vocabulary without a pattern; their values do not matter to speed.
std::vector<int32_t> SomeTokens(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  uint64_t state = 1;
  for (int32_t& t : tokens) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    t = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocabulary));
  }
  return tokens;
}

template <class Work>
double SecondsOf(const Work& work) {
  const auto start = Clock::now();
  work();
  return SecondsSince(start);
}

// Seconds in which each of several sequences generates options.generate tokens, a step a token of
// each. All have the same tokens: their values do not matter to speed.
double BatchSeconds(const std::shared_ptr<const LoadedModel>& model, const BenchOptions& options,
                    std::span<const int32_t> tokens) {
  const auto count = static_cast<size_t>(options.sequences);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Batch::Part> parts(count);
  for (Batch::Part& part : parts) {
    sessions.push_back(std::make_unique<Session>(model, options.depth + options.generate,
                                                 GridNamed(options.kv_grid)));
    part.session = sessions.back().get();
  }
  Batch batch(model, std::max(kPromptTokens, options.sequences));
  std::vector<float> logits(count * model->weights.parameters.vocabulary);
  const CancelTap cancel(options.progress);
  for (const Batch::Part& part : parts) {
    for (int64_t at = 0; at < options.depth; at += kPromptTokens) {
      const int64_t n = std::min(kPromptTokens, options.depth - at);
      const Batch::Part piece{part.session, tokens.subspan(at, n)};
      cancel.Check();
      batch.Step({&piece, 1}, logits.data());
    }
  }
  std::vector<double> seconds;
  for (int r = 0; r <= options.repeats; ++r) {
    for (const Batch::Part& part : parts) part.session->Rewind(options.depth);
    seconds.push_back(SecondsOf([&] {
      for (int64_t i = 0; i < options.generate; ++i) {
        cancel.Check();
        for (Batch::Part& part : parts) part.tokens = tokens.subspan(options.depth + i, 1);
        batch.Step(parts, logits.data());
      }
    }));
    if (options.progress) options.progress->Advance(2 * options.repeats + 2 + r);
  }
  seconds.erase(seconds.begin());  // the first touches every page
  return Median(seconds);
}

}  // namespace

void MeasureSpeed(const std::shared_ptr<const LoadedModel>& model, const BenchOptions& options,
                  BenchReport& report) {
  if (options.prompt < 1 || options.generate < 1 || options.repeats < 1 || options.depth < 0 ||
      options.sequences < 1) {
    FailUsage(
        "prompt, generated tokens, repeats and sequences must be at least 1, depth at least 0");
  }
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  const int64_t context = std::max(options.prompt, options.depth + options.generate);
  const auto tokens = SomeTokens(context, vocabulary);
  Session session(model, context, GridNamed(options.kv_grid));
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  CancelTap cancel(options.progress);
  const auto prompt = [&] {
    session.Rewind(0);
    session.Append(std::span(tokens).first(options.prompt), 1, logits.data(), &cancel);
  };
  // The prompt has left the first of these tokens in the cache.
  const auto reach_depth = [&] {
    session.Rewind(options.depth);
    const int64_t from = session.position();
    session.Append(std::span(tokens).subspan(from, options.depth - from), 0, nullptr, &cancel);
  };
  const auto generate = [&](int64_t n) {
    session.Rewind(options.depth);
    for (int64_t i = 0; i < n; ++i) {
      cancel.Check();
      session.Append(std::span(tokens).subspan(options.depth + i, 1), 1, logits.data());
    }
  };

  Progress* progress = options.progress;
  if (progress) progress->Begin("bench", (options.sequences > 1 ? 3 : 2) * options.repeats + 2);
  // Every page is touched once before anything counts, the buffers of a whole prompt too.
  prompt();
  reach_depth();
  generate(std::min<int64_t>(options.generate, 4));
  std::vector<double> prompt_seconds, generate_seconds;
  for (int r = 0; r < options.repeats; ++r) {
    if (progress) progress->Advance(2 * r + 1);
    prompt_seconds.push_back(SecondsOf(prompt));
    if (progress) progress->Advance(2 * r + 2);
    reach_depth();
    generate_seconds.push_back(SecondsOf([&] { generate(options.generate); }));
  }
  if (options.sequences > 1) {
    report.sequences_tps = static_cast<double>(options.sequences * options.generate) /
                           BatchSeconds(model, options, tokens);
  }
  if (progress) progress->End();
  report.prompt_tps = static_cast<double>(options.prompt) / Median(prompt_seconds);
  report.generation_tps = static_cast<double>(options.generate) / Median(generate_seconds);
  report.weight_bytes = model->weights.token_bytes;
  report.read_gbps = static_cast<double>(report.weight_bytes) * report.generation_tps / 1e9;
  report.kv_cache_bytes = session.cache_bytes();
  report.threads = model->ops->threads();
}

}  // namespace halftone
