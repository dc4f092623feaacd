#include "pipeline/round_layerwise.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "calibration/layerwise.h"
#include "container/container.h"
#include "engine/session.h"
#include "method/gram_error.h"
#include "method/round_rows.h"
#include "pipeline/journal.h"

namespace halftone {
namespace {

// One in eight chunks is held back where a method wants to check itself.
constexpr int64_t kHeldBack = 8;

class LayerwiseRounder {
 public:
  LayerwiseRounder(const LayerwiseJob& job, const std::string& output,
                   const QuantizeOptions& options, QuantizeReport& report)
      : plan_(*job.plan),
        method_(*job.method),
        report_(report),
        pool_(options.threads),
        output_(output) {
    model_ = std::make_shared<const LoadedModel>(AsGguf(*plan_.source),
                                                 std::shared_ptr<Ops>(MakeCpuOps(options.threads)));
    const auto tokenizer = MakeTokenizer(model_->checkpoint);
    chunks_ = SplitText(*tokenizer, job.text, job.text_source, options.context,
                        options.calibration_chunks);
    calibrate_.drift = method_.needs == Needs::kDrift;
    if (calibrate_.drift) calibrate_.held_out_chunks = chunks_.count / kHeldBack;
    calibrate_.progress = options.progress;
    for (size_t i = 0; i < plan_.jobs.size(); ++i) {
      by_name_[plan_.jobs[i].source->tensor.name] = i;
    }
    // Last, so that nothing is left behind where the text or the model is refused.
    journal_.emplace(output, job.fingerprint, options.resume);
  }

  void Run() {
    LayerwiseCalibration calibration(model_, chunks_, calibrate_);
    writer_.emplace(plan_, output_);
    const Tensor embedding = RoundOutside(calibration);
    calibration.Run(
        embedding.grid == nullptr ? nullptr : &embedding,
        [&](const std::string& name, const StageStatistics* statistics) {
          return RoundNamed(name, statistics);
        },
        [&](const std::string& name) { return IsFinished(name); });
    writer_->Commit();
    journal_->Remove();
  }

 private:
  // The output matrix and the embedding, which are one where they are tied. Returns the rounded
  // embedding, or a tensor without a grid where it stays as it is.
  Tensor RoundOutside(LayerwiseCalibration& calibration) {
    const bool tied = plan_.source->shape.tied;
    const std::string head = tied ? "token_embd.weight" : "output.weight";
    StageStatistics statistics;
    if (IsQuantized(head) && !IsFinished(head)) statistics = calibration.Output();
    Tensor embedding;
    for (size_t i = 0; i < plan_.jobs.size(); ++i) {
      const std::string& name = plan_.jobs[i].source->tensor.name;
      if (!plan_.jobs[i].choice.quantize || IsLayerLinear(name)) continue;
      Tensor rounded = RoundJob(i, name == head ? &statistics : nullptr);
      if (name == "token_embd.weight") embedding = std::move(rounded);
    }
    return embedding;
  }

  bool IsLayerLinear(const std::string& name) const {
    const auto place = PlaceOf(*plan_.source->architecture, Dialect::kGguf, name);
    if (!place || place->layer < 0 || place->bias) return false;
    const auto& layer = model_->weights.layers.front();
    for (const Stage stage : kStages) {
      for (const auto member : LinearsOf(stage)) {
        const auto of = PlaceOf(*plan_.source->architecture, Dialect::kGguf, (layer.*member).name);
        if (of && of->role == place->role) return true;
      }
    }
    return false;
  }

  bool IsQuantized(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it != by_name_.end() && plan_.jobs[it->second].choice.quantize;
  }

  bool IsFinished(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() || !plan_.jobs[it->second].choice.quantize ||
           journal_->Has(it->second);
  }

  Tensor RoundNamed(const std::string& name, const StageStatistics* statistics) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end() || !plan_.jobs[it->second].choice.quantize) {
      return model_->checkpoint.Get(name);
    }
    return RoundJob(it->second, statistics);
  }

  // statistics: null where nothing was measured, because nothing meets the tensor or because an
  // earlier run has finished it.
  Tensor RoundJob(size_t index, const StageStatistics* statistics) {
    const Job& job = plan_.jobs[index];
    QuantizedTensor& measured = report_.tensors[index];
    const Tensor& t = job.source->tensor;
    const uint64_t bytes = static_cast<uint64_t>(t.rows()) * job.choice.grid->RowBytes(t.cols());
    std::optional<std::vector<uint8_t>> blocks = journal_->Find(index, bytes, measured);
    if (!blocks) {
      blocks.emplace(bytes);
      RoundAnew(job, statistics, *blocks, measured);
      journal_->Put(index, *blocks, measured);
    }
    Tensor rounded = MakeTensor(t.name, *job.choice.grid, t.shape, *blocks);
    writer_->Put(index, std::move(*blocks));
    return rounded;
  }

  void RoundAnew(const Job& job, const StageStatistics* measured, std::vector<uint8_t>& blocks,
                 QuantizedTensor& report) {
    const auto start = std::chrono::steady_clock::now();
    const Tensor& t = job.source->tensor;
    const Grid& grid = *job.choice.grid;
    const int64_t rows = t.rows(), cols = t.cols();
    std::vector<float> weights(static_cast<size_t>(rows * cols));
    DecodeRows(*plan_.source, *job.source, 0, rows, pool_, weights.data());
    Statistics statistics;
    if (measured != nullptr && !measured->gram.empty()) {
      statistics.gram = measured->gram;
      statistics.tokens = measured->tokens;
      statistics.drift = measured->drift;
      statistics.held_gram = measured->held_gram;
      statistics.held_drift = measured->held_drift;
    }
    Rounding rounding;
    if (grid.plain) {
      RoundRows(weights, rows, cols, {}, grid, pool_, blocks.data());
    } else {
      rounding = method_.round(weights, rows, cols, statistics, grid, pool_, blocks.data());
    }
    report.damping = rounding.damping;
    if (!rounding.note.empty()) {
      report.note += (report.note.empty() ? "" : "; ") + rounding.note;
    }
    ChangeSum change;
    change.Add(weights, rows, cols, grid, blocks, pool_);
    report.relative_error = change.Relative();
    if (!statistics.gram.empty() && !grid.plain) {
      MeasureOutputErrors(weights, rows, grid, statistics, blocks, report);
    }
    report.seconds = SecondsSince(start);
  }

  void MeasureOutputErrors(const std::vector<float>& weights, int64_t rows, const Grid& grid,
                           const Statistics& statistics, const std::vector<uint8_t>& blocks,
                           QuantizedTensor& report) {
    const auto cols = static_cast<int64_t>(weights.size()) / rows;
    const double power = OutputPower(weights, rows, statistics.gram, pool_);
    if (!(power > 0)) return;
    const auto relative = [&](const std::vector<uint8_t>& q) {
      return std::sqrt(
          std::max(0.0, OutputError(weights, rows, grid, q.data(), statistics.gram, {}, 0, pool_)) /
          power);
    };
    report.output_error = relative(blocks);
    if (grid.importance == Importance::kRequired) return;
    std::vector<uint8_t> plain(blocks.size());
    RoundRows(weights, rows, cols, {}, grid, pool_, plain.data());
    report.output_error_rtn = relative(plain);
  }

  const RewritePlan& plan_;
  const Method& method_;
  QuantizeReport& report_;
  ThreadPool pool_;
  const std::string output_;
  std::optional<Journal> journal_;
  std::optional<RewriteWriter> writer_;
  std::shared_ptr<const LoadedModel> model_;
  ChunkedText chunks_;
  LayerwiseOptions calibrate_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace

void RoundLayerwise(const LayerwiseJob& job, const std::string& output,
                    const QuantizeOptions& options, QuantizeReport& report) {
  if (job.plan->source->architecture == nullptr) {
    FailUnsupported("{}: method '{}' has to run the model, and architecture '{}' is not supported",
                    job.plan->source->checkpoint.path, job.method->name,
                    job.plan->source->shape.architecture);
  }
  LayerwiseRounder(job, output, options, report).Run();
}

}  // namespace halftone
