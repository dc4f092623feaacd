// Compare: the main job. Quantizes to every variant, reads the text with all of them in lock-step,
// times each, lets each complete the same prompts, and writes the report.

#include "halftone/compare.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/seconds.h"
#include "calibration/imatrix_file.h"
#include "container/container.h"
#include "engine/generator.h"
#include "engine/session.h"
#include "evaluation/memory.h"
#include "evaluation/speed.h"
#include "method/transform.h"
#include "pipeline/calibrate.h"
#include "pipeline/lock_step.h"
#include "pipeline/overlap.h"
#include "pipeline/presets.h"
#include "pipeline/temporary_file.h"
#include "pipeline/text_input.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDefaultPrompts[] = {"The three primary colours are",
                                                "Once upon a time, in a village by the sea,",
                                                "To boil an egg, first"};

// The layer's number in "blk.N.", or -1.
int LayerOf(std::string_view name) {
  int layer = -1;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

class Comparison {
 public:
  Comparison(const std::string& model, const CompareOptions& options)
      : model_(model), options_(options), grids_(options.grids), methods_(options.methods) {
    if (grids_.empty()) {
      for (const std::string_view grid : ComparisonPresets()) grids_.emplace_back(grid);
    }
    if (methods_.empty()) {
      methods_ = {"rtn"};
      if (!options.calibration.empty()) methods_.push_back("imatrix");
    }
    if (options.output_dir.empty()) FailUsage("give a folder for the report");
    if (options.text_file.empty()) FailUsage("give a text to evaluate on");
    report_.model = model;
    report_.text_file = fs::path(options.text_file).filename();
    report_.version = HALFTONE_VERSION;
    report_.note = options.note;
    report_.context = options.context;
  }

  CompareReport Run() {
    const auto start = std::chrono::steady_clock::now();
    std::error_code error;
    fs::create_directories(options_.output_dir, error);
    if (error) FailIo("{}: cannot create the folder: {}", options_.output_dir, error.message());
    // Whatever would fail late is asked first.
    const TextInput text = ReadTextInput(options_.text_file);
    PlanAll();
    if (!options_.calibration.empty()) {
      const std::string calibration = PlainText(ReadTextInput(options_.calibration));
      NoteOverlap(SketchOf(calibration), PlainText(text), options_.progress);
    }
    AddReference();
    Calibrate();
    QuantizeAll();
    EvaluateAll(text);
    for (size_t i = 0; i < report_.rows.size(); ++i) Measure(report_.rows[i], files_[i]);
    MarkPareto();
    report_.seconds = SecondsSince(start);
    WriteFile(fs::path(options_.output_dir) / "report.json", CompareJson(report_));
    WriteFile(fs::path(options_.output_dir) / "report.csv", CompareCsv(report_));
    WriteFile(fs::path(options_.output_dir) / "report.html", CompareHtml(report_));
    return std::move(report_);
  }

 private:
  QuantizeOptions OptionsFor(const std::string& grid, const std::string& method) const {
    QuantizeOptions options;
    options.grid = grid;
    options.method = method;
    options.threads = options_.threads;
    options.progress = options_.progress;
    // Importances are measured once for all variants; Gram matrices belong to each alone.
    const Needs needs = RecipeNamed(method).needs();
    if (needs == Needs::kMeanSquare) options.imatrix = imatrix_;
    if (needs > Needs::kMeanSquare) {
      options.calibration = options_.calibration;
      options.context = options_.context;
      options.calibration_chunks = kCalibrationChunks;
    }
    return options;
  }

  // Every grid with every method it can be told apart by: an encoder that does not look at
  // importances gives the same file either way and is quantized once.
  void PlanAll() {
    for (const std::string& grid : grids_) {
      for (const std::string& method : methods_) {
        const bool weighted = RecipeNamed(method).needs() != Needs::kNothing;
        const Grid& base = BaseGrid(PresetNamed(grid));
        if (weighted && options_.calibration.empty()) {
          FailUsage("method '{}' needs calibration text", method);
        }
        const bool by_importance = RecipeNamed(method).needs() == Needs::kMeanSquare;
        if (by_importance && base.importance == Importance::kUnused && methods_.size() > 1)
          continue;
        if (!weighted && base.importance == Importance::kRequired) continue;
        CompareRow row;
        row.grid = grid;
        row.method = method;
        row.name = methods_.size() > 1 ? grid + " " + method : grid;
        variants_.push_back(row);
      }
    }
    if (variants_.empty()) FailUsage("there is nothing to compare");
  }

  void AddReference() {
    const Checkpoint checkpoint = OpenCheckpoint(model_);
    CompareRow row;
    row.is_reference = true;
    row.file_bytes = checkpoint.file_bytes;
    uint64_t bytes = 0;
    const Grid* widest = nullptr;
    for (const Tensor& tensor : checkpoint.tensors) {
      bytes += tensor.bytes();
      report_.parameters += tensor.count();
      if (tensor.shape.size() > 1 && tensor.name.find("embd") == std::string::npos &&
          tensor.name.find("embed") == std::string::npos) {
        widest = tensor.grid;
      }
    }
    row.grid = widest ? widest->name : "";
    row.name = "reference (" + row.grid + ")";
    row.bits_per_weight = 8.0 * static_cast<double>(bytes) /
                          static_cast<double>(std::max<int64_t>(1, report_.parameters));
    report_.architecture = ArchitectureOf(checkpoint).name;
    report_.rows.push_back(row);
    files_.push_back(model_);
  }

  void Calibrate() {
    const bool needed = std::ranges::any_of(variants_, [](const CompareRow& row) {
      return RecipeNamed(row.method).needs() == Needs::kMeanSquare;
    });
    if (!needed) return;
    imatrix_ = (fs::path(options_.output_dir) / "imatrix.gguf").string();
    temporary_.emplace_back(imatrix_, options_.keep_files);
    ImatrixOptions options;
    options.context = options_.context;
    options.chunks = kCalibrationChunks;
    options.threads = options_.threads;
    options.progress = options_.progress;
    WriteImportanceMatrix(MeasureImportance(model_, options_.calibration, options), imatrix_);
  }

  void QuantizeAll() {
    for (CompareRow& row : variants_) {
      std::string name = row.grid + "-" + row.method;
      std::ranges::replace(name, ':', '-');
      // Grids in groups go to folders of Hugging Face's kind.
      if (BaseGrid(PresetNamed(row.grid)).grouped == nullptr) name += ".gguf";
      const fs::path path = fs::path(options_.output_dir) / name;
      const QuantizeReport made = Quantize(model_, path.string(), OptionsFor(row.grid, row.method));
      temporary_.emplace_back(path, options_.keep_files);
      row.file_bytes = made.file_bytes;
      row.bits_per_weight = made.bits_per_weight;
      row.quantize_seconds = made.seconds;
      for (const QuantizedTensor& tensor : made.tensors) {
        if (tensor.relative_error == 0) continue;
        row.errors.push_back({LayerOf(tensor.name), tensor.name, tensor.relative_error});
      }
      report_.rows.push_back(row);
      files_.push_back(path);
    }
  }

  static std::shared_ptr<const LoadedModel> Load(const fs::path& path,
                                                 const std::shared_ptr<Ops>& ops) {
    return std::make_shared<const LoadedModel>(OpenCheckpoint(path), ops);
  }

  void EvaluateAll(const TextInput& text) {
    const auto reference = Load(model_, ops_);
    std::vector<std::shared_ptr<const LoadedModel>> models;
    for (size_t i = 1; i < files_.size(); ++i) models.push_back(Load(files_[i], ops_));
    const ChunkedText chunks = ReadChunks(reference->checkpoint, text, options_.context,
                                          options_.chunks, options_.progress);
    const auto reports = EvaluateInLockStep(reference, models, F32Grid(), chunks, options_.threads,
                                            options_.progress);
    report_.chunks = chunks.count;
    report_.threads = ops_->threads();
    for (size_t i = 0; i < reports.size(); ++i) report_.rows[i + 1].quality = reports[i];
    EvaluateReport& own = report_.rows[0].quality;
    own.chunks = chunks.count;
    own.tokens = reports[0].tokens;
    own.perplexity = own.reference_perplexity = reports[0].reference_perplexity;
    own.same_top1 = {1, 0};
  }

  // Speed, memory and completions, with no other model loaded, as `run` would have them.
  void Measure(CompareRow& row, const fs::path& file) {
    ResetPeakMemory();
    const auto start = std::chrono::steady_clock::now();
    const auto model = Load(file, fast_ops_);
    row.speed.load_seconds = SecondsSince(start);
    BenchOptions bench;
    bench.prompt = std::min<int64_t>(256, options_.context);
    bench.generate = 32;
    bench.progress = options_.progress;
    MeasureSpeed(model, bench, row.speed);
    row.speed.peak_bytes = PeakMemory();
    if (machine_gbps_ == 0) {
      machine_gbps_ = MeasureReadBandwidth(options_.threads, options_.progress);
    }
    row.speed.machine_gbps = machine_gbps_;
    const auto tokenizer = MakeTokenizer(model->checkpoint);
    Generator generator(model, *tokenizer, std::max<int64_t>(512, options_.sample_tokens * 2));
    SamplingOptions greedy;
    greedy.temperature = 0;
    std::vector<std::string> prompts = options_.prompts;
    if (prompts.empty()) prompts.assign(std::begin(kDefaultPrompts), std::end(kDefaultPrompts));
    for (const std::string& prompt : prompts) {
      const auto tokens = tokenizer->Encode(prompt, true);
      row.samples.push_back(
          {prompt, generator.Generate(tokens, options_.sample_tokens, greedy, nullptr).text});
    }
  }

  void MarkPareto() {
    const auto& rows = report_.rows;
    for (CompareRow& row : report_.rows) {
      if (row.is_reference) continue;
      row.pareto = std::ranges::none_of(rows, [&](const CompareRow& other) {
        const double mine = row.quality.kld_mean.value, its = other.quality.kld_mean.value;
        return !other.is_reference && other.file_bytes <= row.file_bytes && its <= mine &&
               (other.file_bytes < row.file_bytes || its < mine);
      });
    }
  }

  // More text moves importances little: 16k tokens are enough for a comparison.
  static constexpr int64_t kCalibrationChunks = 32;

  std::string model_;
  CompareOptions options_;
  std::vector<std::string> grids_, methods_;
  // Quality is that of the weights; speed and completions are what a user gets.
  std::shared_ptr<Ops> ops_ = MakeCpuOps(options_.threads, Activations::kF32, options_.progress);
  std::shared_ptr<Ops> fast_ops_ =
      MakeCpuOps(options_.threads, Activations::kInt8, options_.progress);
  std::string imatrix_;
  std::vector<CompareRow> variants_;
  std::vector<fs::path> files_;  // parallel to report_.rows
  std::vector<TemporaryFile> temporary_;
  CompareReport report_;
  double machine_gbps_ = 0;
};

}  // namespace

CompareReport Compare(const std::string& model, const CompareOptions& options) {
  return Comparison(model, options).Run();
}

}  // namespace halftone
