#include "pipeline/round_layerwise.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/seconds.h"
#include "calibration/layerwise.h"
#include "container/container.h"
#include "engine/session.h"
#include "method/column_order.h"
#include "method/gram_error.h"
#include "method/round_rows.h"
#include "model/fold.h"
#include "pipeline/journal.h"
#include "pipeline/transform_layer.h"

namespace halftone {
namespace {

// One in eight chunks is held back where a method wants to check itself.
constexpr int64_t kHeldBack = 8;

// Statistics of inputs that come in that order.
StageStatistics InOrder(const StageStatistics& statistics, std::span<const int32_t> order,
                        ThreadPool& pool) {
  StageStatistics sorted;
  sorted.gram = BothInOrder(statistics.gram, order, pool);
  sorted.drift = BothInOrder(statistics.drift, order, pool);
  sorted.held_gram = BothInOrder(statistics.held_gram, order, pool);
  sorted.held_drift = BothInOrder(statistics.held_drift, order, pool);
  sorted.tokens = statistics.tokens;
  return sorted;
}

class LayerwiseRounder {
 public:
  LayerwiseRounder(const LayerwiseJob& job, const std::string& output,
                   const QuantizeOptions& options, QuantizeReport& report)
      : plan_(*job.plan),
        recipe_(job.recipe),
        orders_(job.orders),
        report_(report),
        pool_(options.threads, options.progress),
        output_(output),
        progress_(options.progress) {
    model_ = std::make_shared<const LoadedModel>(
        AsGguf(*plan_.source),
        std::shared_ptr<Ops>(MakeCpuOps(options.threads, Activations::kF32, options.progress)));
    chunks_ = ReadChunks(model_->checkpoint, job.calibration, options.context,
                         options.calibration_chunks, options.progress);
    calibrate_.drift = recipe_.needs() == Needs::kDrift;
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
    writer_.emplace(plan_, output_, progress_);
    const Tensor embedding = RoundOutside(calibration);
    LayerwiseVisitor visitor;
    visitor.round = [&](const std::string& name, const MeasureInput& measure) {
      return RoundNamed(name, measure);
    };
    visitor.finished = [&](const std::string& name) { return IsFinished(name); };
    if (recipe_.transform != nullptr) {
      visitor.transform = [&](int64_t layer, const LayerStatistics* stages) {
        return Transformed(layer, stages);
      };
    }
    calibration.Run(embedding.grid == nullptr ? nullptr : &embedding, visitor);
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
      if (!plan_.jobs[i].choice.quantize || BelongsToLayer(name)) continue;
      const MeasureInput measured = [&](int64_t) -> const StageStatistics& { return statistics; };
      Tensor rounded = RoundJob(i, name == head ? measured : nullptr);
      if (name == "token_embd.weight") embedding = std::move(rounded);
    }
    return embedding;
  }

  // Whether the tensor is rounded when its layer's turn comes.
  bool BelongsToLayer(const std::string& name) const {
    const auto place = PlaceOf(*plan_.source->architecture, Dialect::kGguf, name);
    const bool experts = plan_.source->shape.experts > 0;
    return place &&
           (IsLayerLinear(*place) || (recipe_.transform != nullptr && IsFolded(*place, experts)));
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

  Tensor RoundNamed(const std::string& name, const MeasureInput& measure) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end() || !plan_.jobs[it->second].choice.quantize) {
      return model_->checkpoint.Get(name);
    }
    return RoundJob(it->second, measure);
  }

  // The layer under the transform. Its norms and biases are finished with that.
  LayerWeights Transformed(int64_t layer, const LayerStatistics* stages) {
    transformed_.clear();
    if (stages != nullptr) {
      transformed_ =
          TransformValues(plan_, *recipe_.transform, model_->weights, layer, *stages, pool_);
    }
    for (const std::string& name : FoldedNames(plan_, layer)) {
      transformed_[name] = Decode(RoundJob(by_name_.at(name), nullptr));
    }
    return LayerWith(transformed_, model_->weights, layer, *model_->ops);
  }

  // measure: null where nothing is measured, because nothing meets the tensor or because an earlier
  // run has finished it.
  Tensor RoundJob(size_t index, const MeasureInput& measure) {
    const Job& job = plan_.jobs[index];
    QuantizedTensor& measured = report_.tensors[index];
    const Tensor& t = job.source->tensor;
    const uint64_t bytes = static_cast<uint64_t>(t.rows()) * job.choice.grid->RowBytes(t.cols());
    std::vector<int32_t>* order = orders_.empty() ? nullptr : orders_[index].get();
    const uint64_t order_bytes = order == nullptr ? 0 : order->size() * sizeof(int32_t);
    std::optional<std::vector<uint8_t>> kept = journal_->Find(index, bytes + order_bytes, measured);
    std::vector<uint8_t> blocks;
    if (kept) {
      blocks = std::move(*kept);
      if (order != nullptr) std::memcpy(order->data(), blocks.data() + bytes, order_bytes);
      blocks.resize(bytes);
    } else {
      blocks.resize(bytes);
      RoundAnew(job, measure, order, blocks, measured);
      std::vector<uint8_t> to_keep = blocks;
      to_keep.resize(bytes + order_bytes);
      if (order != nullptr) std::memcpy(to_keep.data() + bytes, order->data(), order_bytes);
      journal_->Put(index, to_keep, measured);
    }
    Tensor rounded = MakeTensor(t.name, *job.choice.grid, t.shape, blocks);
    if (order != nullptr) rounded.order = orders_[index];
    writer_->Put(index, std::move(blocks));
    return rounded;
  }

  // The weights to be rounded: transformed where the recipe says so.
  std::vector<float> WeightsOf(const Job& job) {
    const Tensor& t = job.source->tensor;
    if (const auto it = transformed_.find(t.name); it != transformed_.end()) return it->second;
    std::vector<float> weights(static_cast<size_t>(t.count()));
    DecodeRows(*plan_.source, *job.source, 0, t.rows(), pool_, weights.data());
    return weights;
  }

  // Squared output errors and what they are relative to, over a tensor's matrices.
  struct OutputErrors {
    double power = 0, error = 0, error_rtn = 0;
    bool rtn = true;  // measured for all
  };

  void RoundAnew(const Job& job, const MeasureInput& measure, std::vector<int32_t>* order,
                 std::vector<uint8_t>& blocks, QuantizedTensor& report) {
    const auto start = std::chrono::steady_clock::now();
    const Grid& grid = *job.choice.grid;
    const Tensor& t = job.source->tensor;
    const int64_t matrices = t.shape.size() == 3 ? t.shape[0] : 1;
    const int64_t rows = t.rows() / matrices, cols = t.cols();
    std::vector<float> weights = WeightsOf(job);
    OutputErrors errors;
    std::vector<std::string> notes;
    std::vector<int64_t> unseen;
    for (int64_t m = 0; m < matrices; ++m) {
      const StageStatistics* measured = measure ? &measure(m) : nullptr;
      if (matrices > 1 && measured != nullptr && measured->tokens == 0) unseen.push_back(m);
      StageStatistics sorted;
      if (order != nullptr && measured != nullptr && !measured->gram.empty()) {
        *order = ByPower(measured->gram, cols);
        weights = ColumnsInOrder(weights, *order);
        sorted = InOrder(*measured, *order, pool_);
        measured = &sorted;
      }
      const auto values = std::span(weights).subspan(static_cast<size_t>(m * rows * cols),
                                                     static_cast<size_t>(rows * cols));
      const uint64_t bytes = static_cast<uint64_t>(rows) * grid.RowBytes(cols);
      const auto to = std::span(blocks).subspan(static_cast<uint64_t>(m) * bytes, bytes);
      const Rounding rounding = RoundMatrix(values, rows, cols, measured, grid, to, errors);
      report.damping = std::max(report.damping, rounding.damping);
      const bool of_unseen = !unseen.empty() && unseen.back() == m;
      if (!rounding.note.empty() && !of_unseen && std::ranges::count(notes, rounding.note) == 0) {
        notes.push_back(rounding.note);
      }
    }
    if (!unseen.empty()) notes.push_back(UnseenNote(unseen, true));
    for (const std::string& note : notes) {
      report.note += (report.note.empty() ? "" : "; ") + note;
    }
    ChangeSum change;
    change.Add(weights, t.rows(), cols, grid, blocks, pool_);
    report.relative_error = change.Relative();
    if (errors.power > 0) {
      report.output_error = std::sqrt(errors.error / errors.power);
      if (errors.rtn) report.output_error_rtn = std::sqrt(errors.error_rtn / errors.power);
    }
    report.seconds = SecondsSince(start);
  }

  Rounding RoundMatrix(std::span<const float> weights, int64_t rows, int64_t cols,
                       const StageStatistics* measured, const Grid& grid, std::span<uint8_t> blocks,
                       OutputErrors& errors) {
    if (grid.plain) {
      RoundRows(weights, rows, cols, {}, grid, pool_, blocks.data());
      return {};
    }
    Statistics statistics;
    std::vector<float> alike;
    if (measured != nullptr && !measured->gram.empty()) {
      statistics.gram = measured->gram;
      statistics.tokens = measured->tokens;
      statistics.drift = measured->drift;
      statistics.held_gram = measured->held_gram;
      statistics.held_drift = measured->held_drift;
    } else if (measured != nullptr && measured->tokens == 0 &&
               grid.importance == Importance::kRequired) {
      alike.assign(static_cast<size_t>(cols), 1.0f);
      statistics.mean_square = alike;
    }
    const Rounding rounding =
        recipe_.method->round(weights, rows, cols, statistics, grid, pool_, blocks.data());
    if (!statistics.gram.empty()) {
      MeasureOutputErrors(weights, rows, grid, statistics, blocks, errors);
    }
    return rounding;
  }

  void MeasureOutputErrors(std::span<const float> weights, int64_t rows, const Grid& grid,
                           const Statistics& statistics, std::span<const uint8_t> blocks,
                           OutputErrors& errors) {
    const auto cols = static_cast<int64_t>(weights.size()) / rows;
    const double power = OutputPower(weights, rows, statistics.gram, pool_);
    if (!(power > 0)) return;
    // Matrices weigh by the tokens that meet them.
    const auto tokens = static_cast<double>(std::max<int64_t>(1, statistics.tokens));
    const auto error = [&](std::span<const uint8_t> q) {
      return tokens * std::max(0.0, OutputError(weights, rows, grid, q.data(), statistics.gram, {},
                                                0, pool_));
    };
    errors.power += tokens * power;
    errors.error += error(blocks);
    if (grid.importance == Importance::kRequired) {
      errors.rtn = false;
      return;
    }
    std::vector<uint8_t> plain(blocks.size());
    RoundRows(weights, rows, cols, {}, grid, pool_, plain.data());
    errors.error_rtn += error(plain);
  }

  const RewritePlan& plan_;
  const Recipe recipe_;
  const std::vector<std::shared_ptr<std::vector<int32_t>>> orders_;
  QuantizeReport& report_;
  ThreadPool pool_;
  const std::string output_;
  Progress* const progress_;
  std::optional<Journal> journal_;
  std::optional<RewriteWriter> writer_;
  std::shared_ptr<const LoadedModel> model_;
  ChunkedText chunks_;
  LayerwiseOptions calibrate_;
  std::map<std::string, size_t> by_name_;
  TransformedValues transformed_;  // of the layer at hand
};

}  // namespace

void RoundLayerwise(const LayerwiseJob& job, const std::string& output,
                    const QuantizeOptions& options, QuantizeReport& report) {
  if (job.plan->source->architecture == nullptr) {
    FailUnsupported("{}: method '{}' has to run the model, and architecture '{}' is not supported",
                    job.plan->source->checkpoint.path, job.recipe.method->name,
                    job.plan->source->shape.architecture);
  }
  LayerwiseRounder(job, output, options, report).Run();
}

}  // namespace halftone
