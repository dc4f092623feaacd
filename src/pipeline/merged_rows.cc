#include "pipeline/merged_rows.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "pipeline/adapter_formats.h"

namespace halftone {
namespace {

class MergedRows : public RowSource {
 public:
  MergedRows(Tensor base, AdapterModule module, const RowPlaces& places)
      : base_(std::move(base)), module_(std::move(module)), places_(places) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = base_.cols();
    Tensor rows = base_;
    rows.shape = {end - begin, cols};
    std::vector<uint8_t> made;
    if (base_.source != nullptr) {
      made.resize(static_cast<uint64_t>(end - begin) * base_.row_bytes());
      base_.source->Read(begin, end, made.data());
      rows.data = made;
    } else {
      rows.data = base_.data.subspan(static_cast<uint64_t>(begin) * base_.row_bytes(),
                                     static_cast<uint64_t>(end - begin) * base_.row_bytes());
    }
    std::vector<float> values(static_cast<size_t>(cols));
    std::vector<double> sums(static_cast<size_t>(cols));
    for (int64_t r = begin; r < end; ++r) {
      DecodeRow(rows, r - begin, values.data());
      Add(places_(r), values, sums);
      std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), cols * 4, blocks);
      blocks += cols * 4;
    }
  }

 private:
  void Add(int64_t row, std::vector<float>& values, std::vector<double>& sums) const {
    std::ranges::fill(sums, 0.0);
    const auto cols = std::ssize(values);
    for (int64_t k = 0; k < module_.rank; ++k) {
      const double factor = module_.b[static_cast<size_t>(row * module_.rank + k)];
      const float* a = module_.a.data() + k * cols;
      for (int64_t i = 0; i < cols; ++i) sums[i] += factor * a[i];
    }
    for (int64_t i = 0; i < cols; ++i) {
      values[i] = static_cast<float>(values[i] + module_.scale * sums[i]);
    }
  }

  Tensor base_;
  AdapterModule module_;
  RowPlaces places_;
};

}  // namespace

Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter) {
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
  for (AdapterModule& module : ReadAdapterModules(adapter, architecture, parameters)) {
    const std::string name = NameInDialect(checkpoint.dialect, module.place);
    const auto tensor = std::ranges::find(checkpoint.tensors, name, &Tensor::name);
    if (tensor == checkpoint.tensors.end()) {
      FailOtherModel(adapter, module, checkpoint.path, std::nullopt);
    }
    if (tensor->shape != std::vector<int64_t>{module.rows(), module.cols()}) {
      FailOtherModel(adapter, module, checkpoint.path, tensor->shape);
    }
    const RowPlaces places(checkpoint.dialect, module.place, parameters, tensor->rows());
    const auto source = std::make_shared<MergedRows>(*tensor, std::move(module), places);
    tensor->grid = &F32Grid();
    tensor->data = {};
    tensor->owner = nullptr;
    tensor->order = nullptr;
    tensor->source = source;
  }
  return checkpoint;
}

}  // namespace halftone
