#include "pipeline/load.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/finite.h"
#include "base/thread_pool.h"
#include "container/container.h"
#include "grid/grouped.h"
#include "grid/nested_scales.h"
#include "model/architecture.h"
#include "model/dialect.h"
#include "model/text_model.h"

namespace halftone {
namespace {

// LLM.int8()'s own, and transformers'.
constexpr float kUsualThreshold = 6;

// Rows of plain numbers, rounded to blocks whenever they are read.
class RoundedRows : public RowSource {
 public:
  RoundedRows(std::string path, Tensor tensor, const Grid& grid, Progress* progress)
      : path_(std::move(path)), tensor_(std::move(tensor)), grid_(grid), progress_(progress) {}

  // Rounds the scales of all rows to 8 bits. Groups that share a scale lie within rows, so that the
  // rows' order matters here only: double quantization counts scales over the whole tensor.
  void NestScales(const RowPlaces& places, ThreadPool& pool) {
    const int64_t rows = tensor_.rows(), groups = tensor_.cols() / grid_.block;
    std::vector<float> scales(static_cast<size_t>(rows * groups));
    pool.For(rows, [&](int64_t row, int) {
      std::vector<uint8_t> blocks(grid_.RowBytes(tensor_.cols()));
      Round(row, blocks.data());
      for (int64_t g = 0; g < groups; ++g) {
        scales[places(row) * groups + g] =
            LoadReal(grid_.grouped->scale, blocks.data() + g * grid_.bytes);
      }
    });
    places_ = places;
    nested_ = QuantizeScales(scales);
  }

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t groups = tensor_.cols() / grid_.block;
    for (int64_t row = begin; row < end; ++row) {
      Round(row, blocks);
      for (int64_t g = 0; g < groups; ++g, blocks += grid_.bytes) {
        if (nested_.codes.empty()) continue;
        StoreReal(grid_.grouped->scale, nested_.Scale(places_(row) * groups + g), blocks);
      }
    }
  }

 private:
  void Round(int64_t row, uint8_t* blocks) const {
    if (progress_ != nullptr && std::this_thread::get_id() == caller_ && progress_->Cancelled()) {
      throw Error(Error::Kind::kCancelled, "loading cancelled");
    }
    std::vector<float> weights(static_cast<size_t>(tensor_.cols()));
    DecodeRow(tensor_, row, weights.data());
    if (!AllFinite(weights)) {
      FailFormat("{}: tensor '{}' holds a value that is not finite in row {}", path_, tensor_.name,
                 row);
    }
    grid_.Encode(weights.data(), tensor_.cols(), nullptr, blocks);
  }

  std::string path_;
  Tensor tensor_;
  const Grid& grid_;
  Progress* progress_;
  std::thread::id caller_ = std::this_thread::get_id();  // the one that progress may hear from
  RowPlaces places_;
  NestedScales nested_;  // empty: scales stay as they are
};

GroupedSpec SpecOf(const Precision& precision) {
  if (precision.load_in == LoadIn::k8Bit) return *ParseGroupedName("int8:row:absmax");
  if (precision.quant_type != "nf4" && precision.quant_type != "fp4") {
    FailUsage("4-bit weights are nf4 or fp4, not '{}'", precision.quant_type);
  }
  const int block = precision.block;
  if (block < 32 || block > 4096 || (block & (block - 1)) != 0) {
    FailUsage("weights that share a scale must be a power of two from 32 to 4096, not {}", block);
  }
  GroupedSpec spec = *ParseGroupedName(precision.quant_type);
  spec.group = block;
  spec.nested = precision.double_quant;
  return spec;
}

void RoundLinears(const Precision& precision, int threads, Progress* progress,
                  Checkpoint& checkpoint) {
  const GroupedSpec spec = SpecOf(precision);
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
  ThreadPool pool(threads);
  bool rounded = false;
  for (Tensor& tensor : checkpoint.tensors) {
    const auto place = PlaceOf(architecture, checkpoint.dialect, tensor.name);
    if (!place || !IsLayerLinear(*place) || tensor.shape.size() < 2) continue;
    // Plain numbers with a source are quantized weights that their container reads as numbers.
    if (!tensor.grid->plain || tensor.source != nullptr) continue;
    if (spec.group > 0 && tensor.cols() % spec.group != 0) {
      FailUnsupported("{}: tensor '{}': rows of {} weights are not whole blocks of {}",
                      checkpoint.path, tensor.name, tensor.cols(), spec.group);
    }
    const Grid& grid = GroupedGrid(spec, tensor.cols());
    const auto source = std::make_shared<RoundedRows>(checkpoint.path, tensor, grid, progress);
    if (spec.nested) {
      source->NestScales({checkpoint.dialect, *place, parameters, tensor.rows()}, pool);
    }
    tensor.grid = &grid;
    tensor.data = {};
    tensor.owner = nullptr;
    tensor.source = source;
    rounded = true;
  }
  if (!rounded) {
    FailUsage("{}: no linear layer holds plain numbers that could be rounded while loading",
              checkpoint.path);
  }
}

}  // namespace

Checkpoint OpenToRun(const std::string& path, const Precision& precision, int threads,
                     Progress* progress) {
  Checkpoint checkpoint = TextModelOf(OpenCheckpoint(path));
  if (precision.load_in != LoadIn::kAsStored) {
    RoundLinears(precision, threads, progress, checkpoint);
  }
  if (precision.load_in == LoadIn::k8Bit && !checkpoint.int8_threshold) {
    checkpoint.int8_threshold = kUsualThreshold;
  }
  if (precision.int8_threshold) {
    if (!(*precision.int8_threshold >= 0)) {
      FailUsage("the threshold of LLM.int8() must not be {}", *precision.int8_threshold);
    }
    if (!checkpoint.int8_threshold) {
      FailUsage("{}: has a threshold of LLM.int8() only with bitsandbytes' 8 bits", path);
    }
    checkpoint.int8_threshold = precision.int8_threshold;
  }
  return checkpoint;
}

}  // namespace halftone
