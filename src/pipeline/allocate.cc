#include "pipeline/allocate.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "halftone/model.h"
#include "method/round_rows.h"
#include "pipeline/dimensions.h"

namespace halftone {
namespace {

// Enough text to tell tensors apart: each is run over all of it.
constexpr int64_t kChunks = 6;
constexpr int64_t kTokens = 256;
// Rows of a tensor by which grids are told apart.
constexpr int64_t kSampledRows = 256;

// Chunks spread evenly over the text.
ChunkedText Spread(const ChunkedText& all) {
  ChunkedText some;
  some.length = all.length;
  some.count = std::min(kChunks, all.count);
  for (int64_t i = 0; i < some.count; ++i) {
    const auto chunk = all.chunk(i * all.count / some.count);
    some.tokens.insert(some.tokens.end(), chunk.begin(), chunk.end());
  }
  return some;
}

// The mean of experts' importances, [cols], since the sampled rows are of many.
std::vector<float> MeanOfMatrices(const std::vector<float>& squares, int64_t cols) {
  std::vector<float> mean(static_cast<size_t>(cols));
  const size_t matrices = squares.size() / mean.size();
  for (size_t i = 0; i < squares.size(); ++i) {
    mean[i % mean.size()] += squares[i] / static_cast<float>(matrices);
  }
  return mean;
}

}  // namespace

uint64_t TargetFileBytes(const Source& source, const QuantizeOptions& options) {
  if (options.target_bytes > 0) return options.target_bytes;
  const ModelDimensions dimensions = DimensionsOf(source);
  const uint64_t beside =
      KvCacheBytes(dimensions, options.target_context, GridNamed(LoadOptions().kv_grid)) +
      ActivationBytes(dimensions, std::min(kPromptBatch, options.target_context));
  if (beside >= options.target_memory) {
    FailUsage("a context of {} tokens needs {} bytes beside the weights, more than the target's {}",
              options.target_context, beside, options.target_memory);
  }
  return options.target_memory - beside;
}

GridAllocator::GridAllocator(std::shared_ptr<const Source> source, const std::vector<Job>& jobs,
                             const Container& container, const TextInput& calibration, double bits,
                             const QuantizeOptions& options)
    : source_(std::move(source)), pool_(options.threads, options.progress), jobs_(jobs.size()) {
  AddCandidates(jobs, container);
  LoadedModel model(AsGguf(*source_), std::shared_ptr<Ops>(MakeCpuOps(
                                          options.threads, Activations::kF32, options.progress)));
  const ChunkedText chunks = Spread(ReadChunks(
      model.checkpoint, calibration, std::min(kTokens, options.context), 0, options.progress));
  std::vector<const Grid*> probed;
  std::vector<Tensor> probes;
  for (const Item& item : items_) {
    probed.push_back(*std::ranges::min_element(item.grids, {}, [&](const Grid* grid) {
      return grid->plain ? INFINITY : std::abs(grid->bits_per_weight() - bits);
    }));
    probes.push_back(Probe(jobs[item.job], *probed.back()));
  }
  const Sensitivity sensitivity =
      MeasureSensitivity(model, probes, chunks, pool_, options.progress);
  if (options.progress) options.progress->Begin("compare grids", std::ssize(items_));
  for (size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    const Job& job = jobs[item.job];
    const std::string& name = job.source->tensor.name;
    const auto squares = sensitivity.mean_square.find(name);
    const std::vector<float> mean_square =
        squares == sensitivity.mean_square.end()
            ? std::vector<float>{}
            : MeanOfMatrices(squares->second, job.source->tensor.cols());
    const auto divergence = sensitivity.divergence.find(name);
    // What the model does not run costs nothing but bytes.
    const double measured = divergence == sensitivity.divergence.end() ? 0 : divergence->second;
    const std::vector<float> sample = SampledRows(job);
    const double error = Error(sample, job.source->tensor.cols(), *probed[i], mean_square, false);
    for (size_t g = 0; g < item.grids.size(); ++g) {
      const double cost = error > 0 ? measured *
                                          Error(sample, job.source->tensor.cols(), *item.grids[g],
                                                mean_square, true) /
                                          error
                                    : 0;
      item.options[g].cost = cost;
    }
    if (options.progress) options.progress->Advance(static_cast<int64_t>(i + 1));
  }
  if (options.progress) options.progress->End();
}

// Every grid that a method with feedback can round to, and the weights as they are or as halves.
void GridAllocator::AddCandidates(const std::vector<Job>& jobs, const Container& container) {
  for (size_t j = 0; j < jobs.size(); ++j) {
    const Tensor& t = jobs[j].source->tensor;
    if (!jobs[j].choice.quantize || jobs[j].choice.grid->plain) continue;
    Item item;
    item.job = j;
    for (const Grid* grid : AllGrids()) {
      const bool halves = grid->plain && grid->bits_per_weight() == 16 &&
                          (grid == t.grid || !t.grid->plain || t.grid->bits_per_weight() > 16);
      if (!grid->writable() || (grid->scalar == nullptr && !halves) ||
          !container.can_store(*grid) || t.cols() % grid->block != 0) {
        continue;
      }
      item.grids.push_back(grid);
      item.options.push_back({static_cast<uint64_t>(t.rows()) * grid->RowBytes(t.cols()), 0});
    }
    if (!item.grids.empty()) items_.push_back(std::move(item));
  }
}

Tensor GridAllocator::Probe(const Job& job, const Grid& grid) {
  const Tensor& t = job.source->tensor;
  std::vector<float> values(static_cast<size_t>(t.count()));
  DecodeRows(*source_, *job.source, 0, t.rows(), pool_, values.data());
  std::vector<uint8_t> blocks(static_cast<uint64_t>(t.rows()) * grid.RowBytes(t.cols()));
  RoundRows(values, t.rows(), t.cols(), {}, grid, pool_, blocks.data());
  return MakeTensor(t.name, grid, t.shape, std::move(blocks));
}

// Rows of the tensor, spread evenly over it.
std::vector<float> GridAllocator::SampledRows(const Job& job) {
  const Tensor& t = job.source->tensor;
  const int64_t cols = t.cols(), rows = std::min(t.rows(), kSampledRows);
  GgufTensor loaded = *job.source;
  loaded.tensor = Loaded(t, pool_);
  std::vector<float> values(static_cast<size_t>(rows * cols));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = i * t.rows() / rows;
    DecodeRows(*source_, loaded, row, row + 1, pool_, values.data() + i * cols);
  }
  return values;
}

// The sum of squared errors of rows, each column's counting by its inputs.
double GridAllocator::Error(std::span<const float> values, int64_t cols, const Grid& grid,
                            const std::vector<float>& mean_square, bool weighted) {
  const auto rows = std::ssize(values) / cols;
  std::vector<double> errors(static_cast<size_t>(rows));
  const float* importance = weighted && !mean_square.empty() ? mean_square.data() : nullptr;
  pool_.For(rows, [&](int64_t i, int) {
    const float* w = values.data() + i * cols;
    std::vector<uint8_t> blocks(grid.RowBytes(cols));
    std::vector<float> back(static_cast<size_t>(cols));
    grid.Encode(w, cols, importance, blocks.data());
    grid.Decode(blocks.data(), cols, back.data());
    for (int64_t c = 0; c < cols; ++c) {
      const double e = static_cast<double>(w[c]) - back[c];
      errors[i] += e * e * (mean_square.empty() ? 1.0 : mean_square[c]);
    }
  });
  double total = 0;
  for (const double e : errors) total += e;
  return total;
}

std::vector<const Grid*> GridAllocator::Choose(uint64_t budget) const {
  std::vector<std::vector<AllocationOption>> items;
  uint64_t least = 0;
  for (const Item& item : items_) {
    items.push_back(item.options);
    least += std::ranges::min_element(item.options, {}, &AllocationOption::bytes)->bytes;
  }
  const auto chosen = Allocate(items, budget);
  if (!chosen) {
    FailUsage("the smallest grids take {} bytes, the target leaves {} for them", least, budget);
  }
  std::vector<const Grid*> grids(jobs_);
  for (size_t i = 0; i < items_.size(); ++i) {
    grids[items_[i].job] = items_[i].grids[(*chosen)[i]];
  }
  return grids;
}

}  // namespace halftone
