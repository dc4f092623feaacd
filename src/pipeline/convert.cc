// Convert: another container for the same numbers.

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/thread_pool.h"
#include "halftone/quantize.h"
#include "method/round_rows.h"
#include "pipeline/presets.h"
#include "pipeline/rewrite.h"
#include "pipeline/source.h"

namespace halftone {
namespace {

// The writable grid that the container holds with the nearest bits per weight not below the given
// one's, for rows of `cols`.
const Grid& NearestStorable(const Container& container, const Grid& grid, int64_t cols) {
  const Grid* best = nullptr;
  for (const Grid* candidate : AllGrids()) {
    if (!candidate->writable() || !container.can_store(*candidate) ||
        cols % candidate->block != 0 || candidate->importance == Importance::kRequired ||
        candidate->bits_per_weight() < grid.bits_per_weight()) {
      continue;
    }
    if (best == nullptr || candidate->bits_per_weight() < best->bits_per_weight()) best = candidate;
  }
  if (best == nullptr) {
    FailUnsupported("container '{}' holds no grid that could replace '{}'", container.name,
                    grid.name);
  }
  return *best;
}

// general.file_type of a file whose source did not say.
void NameFileType(RewritePlan& plan) {
  if (plan.file.metadata.Find("general.file_type") != nullptr) return;
  const auto type = MostlyFileType(plan);
  if (!type) return;
  plan.file.metadata.Set("general.file_type", Value(*type));
  plan.file.metadata.Set("general.quantization_version", Value(uint32_t{2}));
}

RewritePlan MakePlan(const std::string& input, const ConvertOptions& options) {
  RewritePlan plan;
  plan.source = std::make_shared<const Source>(OpenSource(input));
  plan.container = &ChooseContainer(options.container, F32Grid());
  for (const GgufTensor& t : plan.source->tensors) {
    Job job{&t, {t.tensor.grid, false, ""}, {}};
    // Norms, biases and factors are f32 in every GGUF file; widening them loses nothing.
    if (plan.container->dialect == Dialect::kGguf && t.tensor.shape.size() <= 1 &&
        t.tensor.grid->plain && t.tensor.grid != &F32Grid()) {
      job.choice = {&F32Grid(), true, ""};
    }
    if (!plan.container->can_store(*job.choice.grid)) {
      if (!options.requantize) {
        FailUsage(
            "container '{}' cannot hold grid '{}' of tensor '{}' as it is; --requantize "
            "rounds it anew",
            plan.container->name, job.choice.grid->name, t.tensor.name);
      }
      job.choice = {&NearestStorable(*plan.container, *job.choice.grid, t.tensor.cols()), true,
                    "rounded anew"};
    }
    plan.file.tensors.push_back({PlaceInDialect(*plan.source, t, plan.container->dialect).name,
                                 job.choice.grid, t.tensor.shape,
                                 job.choice.quantize ? nullptr : t.tensor.order});
    plan.jobs.push_back(std::move(job));
  }
  CheckStorable(plan);
  plan.file.metadata = plan.source->metadata;
  plan.file.documents = DocumentsFor(*plan.source, *plan.container);
  NameFileType(plan);
  return plan;
}

}  // namespace

QuantizeReport Convert(const std::string& input, const std::string& output,
                       const ConvertOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const RewritePlan plan = MakePlan(input, options);
  CheckOutput(input, output, *plan.container);
  QuantizeReport report = MakeReport(plan, output);
  ThreadPool pool(options.threads);
  RewriteWriter writer(plan, output);
  Progress* progress = options.progress;
  if (progress) {
    progress->Begin("convert to " + std::string(plan.container->name), plan.source->parameters);
  }
  int64_t done = 0;
  for (size_t i = 0; i < plan.jobs.size(); ++i) {
    const Job& job = plan.jobs[i];
    const Tensor& t = job.source->tensor;
    if (progress && progress->Cancelled()) {
      throw Error(Error::Kind::kCancelled, output + ": cancelled");
    }
    if (job.choice.quantize) {
      std::vector<float> values(static_cast<size_t>(t.count()));
      std::vector<uint8_t> blocks(static_cast<uint64_t>(t.rows()) *
                                  job.choice.grid->RowBytes(t.cols()));
      DecodeRows(*plan.source, *job.source, 0, t.rows(), pool, values.data());
      RoundRows(values, t.rows(), t.cols(), {}, *job.choice.grid, pool, blocks.data());
      ChangeSum change;
      change.Add(values, t.rows(), t.cols(), *job.choice.grid, blocks, pool);
      report.tensors[i].relative_error = change.Relative();
      writer.Put(i, std::move(blocks));
    }
    done += t.count();
    if (progress) progress->Advance(done);
  }
  writer.Commit();
  if (progress) progress->End();
  report.seconds = SecondsSince(start);
  return report;
}

}  // namespace halftone
