#include "pipeline/merged_rows.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "grid/move_offsets.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "pipeline/adapter_formats.h"

namespace halftone {
namespace {

// Rows [begin, end) of a tensor; `made` keeps what has to be made first.
Tensor RowsOf(const Tensor& tensor, int64_t begin, int64_t end, std::vector<uint8_t>& made) {
  Tensor rows = tensor;
  rows.shape = {end - begin, tensor.cols()};
  if (tensor.source != nullptr) {
    made.resize(rows.bytes());
    tensor.source->Read(begin, end, made.data());
    rows.data = made;
  } else {
    rows.data =
        tensor.data.subspan(static_cast<uint64_t>(begin) * tensor.row_bytes(), rows.bytes());
  }
  return rows;
}

class MergedRows : public RowSource {
 public:
  MergedRows(Tensor base, AdapterModule module, const RowPlaces& places)
      : base_(std::move(base)), module_(std::move(module)), places_(places) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = base_.cols();
    std::vector<uint8_t> made;
    const Tensor rows = RowsOf(base_, begin, end, made);
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

// Of a module that says the same for all inputs of a group.
class MovedRows : public RowSource {
 public:
  MovedRows(Tensor base, AdapterModule module, const RowPlaces& places)
      : base_(std::move(base)), module_(std::move(module)), places_(places) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = base_.cols(), group = OffsetGroup(*base_.grid);
    std::vector<uint8_t> made;
    const Tensor rows = RowsOf(base_, begin, end, made);
    std::vector<float> by(static_cast<size_t>(cols / group));
    for (int64_t r = begin; r < end; ++r, blocks += base_.row_bytes()) {
      const float* b = module_.b.data() + places_(r) * module_.rank;
      for (size_t g = 0; g < by.size(); ++g) {
        const float* a = module_.a.data() + static_cast<int64_t>(g) * group;
        double sum = 0;
        for (int64_t k = 0; k < module_.rank; ++k) sum += static_cast<double>(b[k]) * a[k * cols];
        by[g] = static_cast<float>(module_.scale * sum);
      }
      MoveOffsets(*base_.grid, rows.row(r - begin).data(), cols, by, blocks);
    }
  }

 private:
  Tensor base_;
  AdapterModule module_;
  RowPlaces places_;
};

// The tensor that the module is for.
Tensor& TensorOf(Checkpoint& checkpoint, const AdapterModule& module, const std::string& adapter) {
  const std::string name = NameInDialect(checkpoint.dialect, module.place);
  const auto tensor = std::ranges::find(checkpoint.tensors, name, &Tensor::name);
  if (tensor == checkpoint.tensors.end()) {
    FailOtherModel(adapter, module, checkpoint.path, std::nullopt);
  }
  if (tensor->shape != std::vector<int64_t>{module.rows(), module.cols()}) {
    FailOtherModel(adapter, module, checkpoint.path, tensor->shape);
  }
  return *tensor;
}

// Calls merge(module, its tensor, places of the tensor's rows) for each module of the adapter.
template <class F>
void ForEachModule(Checkpoint& checkpoint, const std::string& adapter, F&& merge) {
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
  for (AdapterModule& module : ReadAdapterModules(adapter, architecture, parameters)) {
    Tensor& tensor = TensorOf(checkpoint, module, adapter);
    const RowPlaces places(checkpoint.dialect, module.place, parameters, tensor.rows());
    merge(std::move(module), tensor, places);
  }
}

// Puts Rows of the tensor and the module in the tensor's place.
template <class Rows>
void Replace(Tensor& tensor, const Grid& grid, AdapterModule module, const RowPlaces& places) {
  auto rows = std::make_shared<Rows>(tensor, std::move(module), places);
  tensor.grid = &grid;
  tensor.data = {};
  tensor.owner = nullptr;
  tensor.order = nullptr;
  tensor.source = std::move(rows);
}

bool KeepsCodes(const Tensor& tensor, const AdapterModule& module) {
  const int64_t group = OffsetGroup(*tensor.grid);
  return group != 0 && tensor.order == nullptr && IsSharedInGroups(module, group);
}

}  // namespace

bool IsSharedInGroups(const AdapterModule& module, int64_t group) {
  for (size_t i = 0; i < module.a.size(); ++i) {
    if (module.a[i] != module.a[i - i % static_cast<size_t>(group)]) return false;
  }
  return true;
}

MergedInPlace WithAdapterInPlace(Checkpoint checkpoint, const std::string& adapter) {
  MergedInPlace merged;
  merged.checkpoint = std::move(checkpoint);
  ForEachModule(merged.checkpoint, adapter,
                [&](AdapterModule module, Tensor& tensor, const RowPlaces& places) {
                  if (KeepsCodes(tensor, module)) {
                    ++merged.moved;
                    Replace<MovedRows>(tensor, *tensor.grid, std::move(module), places);
                  } else {
                    merged.to_round[NameInDialect(Dialect::kGguf, module.place)] = tensor.grid;
                    Replace<MergedRows>(tensor, F32Grid(), std::move(module), places);
                  }
                });
  return merged;
}

Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter) {
  ForEachModule(checkpoint, adapter,
                [](AdapterModule module, Tensor& tensor, const RowPlaces& places) {
                  Replace<MergedRows>(tensor, F32Grid(), std::move(module), places);
                });
  return checkpoint;
}

}  // namespace halftone
