#include "evaluation/speed.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"

namespace halftone {
namespace {

using Clock = std::chrono::steady_clock;

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

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

}  // namespace

void MeasureSpeed(const std::shared_ptr<const LoadedModel>& model, const BenchOptions& options,
                  BenchReport& report) {
  if (options.prompt < 1 || options.generate < 1 || options.repeats < 1 || options.depth < 0) {
    FailUsage("prompt, generated tokens and repeats must be at least 1, the depth at least 0");
  }
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  const int64_t context = std::max(options.prompt, options.depth + options.generate);
  const auto tokens = SomeTokens(context, vocabulary);
  Session session(model, context, GridNamed(options.kv_grid));
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  const auto prompt = [&] {
    session.Rewind(0);
    session.Append(std::span(tokens).first(options.prompt), 1, logits.data());
  };
  // The prompt has left the first of these tokens in the cache.
  const auto reach_depth = [&] {
    session.Rewind(options.depth);
    const int64_t from = session.position();
    session.Append(std::span(tokens).subspan(from, options.depth - from), 0, nullptr);
  };
  const auto generate = [&](int64_t n) {
    session.Rewind(options.depth);
    for (int64_t i = 0; i < n; ++i) {
      session.Append(std::span(tokens).subspan(options.depth + i, 1), 1, logits.data());
    }
  };
  const auto time = [&](auto&& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };

  Progress* progress = options.progress;
  if (progress) progress->Begin("bench", 2 * options.repeats + 1);
  reach_depth();
  generate(std::min<int64_t>(options.generate, 4));  // touches every page once
  std::vector<double> prompt_seconds, generate_seconds;
  for (int r = 0; r < options.repeats; ++r) {
    if (progress && progress->Cancelled()) throw Error(Error::Kind::kCancelled, "bench cancelled");
    if (progress) progress->Advance(2 * r + 1);
    prompt_seconds.push_back(time(prompt));
    if (progress) progress->Advance(2 * r + 2);
    reach_depth();
    generate_seconds.push_back(time([&] { generate(options.generate); }));
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
