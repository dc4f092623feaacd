#include "pipeline/merged_rows.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "base/error.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "pipeline/adapter_formats.h"

namespace halftone {
namespace {

class MergedRows : public RowSource {
 public:
  // One module, or one of each of so many experts, or of some, whose rows lie one behind the other.
  MergedRows(Tensor base, const RowPlaces& places, int64_t experts)
      : base_(std::move(base)),
        places_(places),
        modules_(static_cast<size_t>(experts)),
        rows_(base_.rows() / experts) {}

  void Add(int64_t expert, AdapterModule module) {
    modules_[static_cast<size_t>(expert)] = std::move(module);
  }

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
      const AdapterModule& module = modules_[static_cast<size_t>(r / rows_)];
      if (module.rank > 0) AddTo(module, places_(r % rows_), values, sums);
      std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), cols * 4, blocks);
      blocks += cols * 4;
    }
  }

 private:
  static void AddTo(const AdapterModule& module, int64_t row, std::vector<float>& values,
                    std::vector<double>& sums) {
    std::ranges::fill(sums, 0.0);
    const auto cols = std::ssize(values);
    for (int64_t k = 0; k < module.rank; ++k) {
      const double factor = module.b[static_cast<size_t>(row * module.rank + k)];
      const float* a = module.a.data() + k * cols;
      for (int64_t i = 0; i < cols; ++i) sums[i] += factor * a[i];
    }
    for (int64_t i = 0; i < cols; ++i) {
      values[i] = static_cast<float>(values[i] + module.scale * sums[i]);
    }
  }

  Tensor base_;
  RowPlaces places_;
  std::vector<AdapterModule> modules_;
  int64_t rows_;  // of each
};

}  // namespace

Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter) {
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
  std::unordered_map<std::string_view, Tensor*> tensors;
  for (Tensor& tensor : checkpoint.tensors) tensors[tensor.name] = &tensor;
  std::unordered_map<Tensor*, std::shared_ptr<MergedRows>> changed;
  for (AdapterModule& module : ReadAdapterModules(adapter, architecture, parameters)) {
    const std::string name = NameInDialect(checkpoint.dialect, module.place);
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      FailOtherModel(adapter, module, checkpoint.path, std::nullopt);
    }
    Tensor* tensor = found->second;
    const bool stacked = tensor->shape.size() == 3 && module.place.expert >= 0;
    std::vector<int64_t> expected = {module.rows(), module.cols()};
    if (stacked) expected.insert(expected.begin(), parameters.experts);
    if (tensor->shape != expected || module.place.expert >= parameters.experts) {
      FailOtherModel(adapter, module, checkpoint.path, tensor->shape);
    }
    std::shared_ptr<MergedRows>& rows = changed[tensor];
    if (rows == nullptr) {
      const int64_t experts = stacked ? parameters.experts : 1;
      rows = std::make_shared<MergedRows>(
          *tensor, RowPlaces(checkpoint.dialect, module.place, parameters, module.rows()), experts);
      tensor->grid = &F32Grid();
      tensor->data = {};
      tensor->owner = nullptr;
      tensor->order = nullptr;
      tensor->source = rows;
    }
    rows->Add(stacked ? module.place.expert : 0, std::move(module));
  }
  return checkpoint;
}

}  // namespace halftone
