#include "pipeline/lock_step.h"

#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/seconds.h"
#include "base/thread_pool.h"
#include "engine/cancel_tap.h"
#include "evaluation/quality.h"

namespace halftone {
namespace {

// One model on its way through the text. KV caches are as long as a chunk.
struct Reader {
  Reader(std::shared_ptr<const LoadedModel> model, int64_t chunk, const Grid& cache_grid)
      : session(std::move(model), chunk, cache_grid) {}

  void Read(std::span<const int32_t> tokens, int64_t wanted, float* logits, Tap* tap) {
    session.Rewind(0);
    session.Append(tokens, wanted, logits, tap);
  }

  Session session;
  QualityMeter meter;
  double seconds = 0;
};

}  // namespace

std::vector<EvaluateReport> EvaluateInLockStep(
    const std::shared_ptr<const LoadedModel>& reference,
    const std::vector<std::shared_ptr<const LoadedModel>>& models, const Grid& cache_grid,
    const ChunkedText& chunks, int threads, Progress* progress) {
  const int64_t vocabulary = models.front()->weights.parameters.vocabulary;
  const auto check = [&](const LoadedModel& model) {
    if (model.weights.parameters.vocabulary != vocabulary) {
      FailUsage("{}: has {} tokens in its vocabulary, {} has {}", model.checkpoint.path,
                model.weights.parameters.vocabulary, models.front()->checkpoint.path, vocabulary);
    }
  };
  std::optional<Reader> base;
  if (reference) {
    check(*reference);
    base.emplace(reference, chunks.length, F32Grid());
  }
  std::vector<Reader> readers;
  readers.reserve(models.size());
  for (const auto& model : models) {
    check(*model);
    readers.emplace_back(model, chunks.length, cache_grid);
  }

  // The second half of each chunk is scored; the last position has no next token.
  const int64_t first = chunks.length / 2;
  const int64_t wanted = chunks.length - first;
  const int64_t scored = wanted - 1;
  std::vector<float> base_logits(static_cast<size_t>(reference ? wanted * vocabulary : 0));
  std::vector<float> logits(static_cast<size_t>(wanted * vocabulary));
  ThreadPool pool(threads, progress);
  CancelTap cancel(progress);
  Tap* const tap = progress == nullptr ? nullptr : &cancel;
  const auto per_chunk = static_cast<int64_t>(models.size()) + (reference ? 1 : 0);
  int64_t done = 0;
  const auto advance = [&] {
    if (!progress) return;
    progress->Advance(++done * chunks.length);
    cancel.Check();
  };
  if (progress) progress->Begin("evaluate", per_chunk * chunks.count * chunks.length);
  for (int64_t i = 0; i < chunks.count; ++i) {
    const auto chunk = chunks.chunk(i);
    if (base) {
      base->Read(chunk, wanted, base_logits.data(), tap);
      advance();
    }
    for (Reader& reader : readers) {
      const auto start = std::chrono::steady_clock::now();
      reader.Read(chunk, wanted, logits.data(), tap);
      reader.meter.Add(logits.data(), base ? base_logits.data() : nullptr,
                       chunk.subspan(first + 1, scored), vocabulary, pool);
      reader.seconds += SecondsSince(start);
      advance();
    }
  }
  if (progress) progress->End();

  std::vector<EvaluateReport> reports;
  for (const Reader& reader : readers) {
    reports.push_back(reader.meter.Report());
    reports.back().chunks = chunks.count;
    reports.back().seconds = reader.seconds;
  }
  return reports;
}

}  // namespace halftone
