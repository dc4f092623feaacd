#include "pipeline/merged_rows.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

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

// The modules of one tensor: one, or of a tensor of experts one for each, of rank 0 where it has
// none.
struct TensorModules {
  std::vector<AdapterModule> modules;
  RowPlaces places;
  int64_t rows = 0;  // of each

  const AdapterModule& OfRow(int64_t row) const { return modules[static_cast<size_t>(row / rows)]; }
  // What the row adds to the inputs of A's row k.
  double Factor(int64_t row, int64_t k) const {
    const AdapterModule& module = OfRow(row);
    return module.b[static_cast<size_t>(places(row % rows) * module.rank + k)];
  }
};

class MergedRows : public RowSource {
 public:
  MergedRows(Tensor base, TensorModules modules)
      : base_(std::move(base)), modules_(std::move(modules)) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = base_.cols();
    std::vector<uint8_t> made;
    const Tensor rows = RowsOf(base_, begin, end, made);
    std::vector<float> values(static_cast<size_t>(cols));
    std::vector<double> sums(static_cast<size_t>(cols));
    for (int64_t r = begin; r < end; ++r, blocks += cols * 4) {
      DecodeRow(rows, r - begin, values.data());
      AddTo(r, values, sums);
      std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), cols * 4, blocks);
    }
  }

 private:
  void AddTo(int64_t row, std::vector<float>& values, std::vector<double>& sums) const {
    const AdapterModule& module = modules_.OfRow(row);
    if (module.rank == 0) return;
    std::ranges::fill(sums, 0.0);
    const auto cols = std::ssize(values);
    for (int64_t k = 0; k < module.rank; ++k) {
      const double factor = modules_.Factor(row, k);
      const float* a = module.a.data() + k * cols;
      for (int64_t i = 0; i < cols; ++i) sums[i] += factor * a[i];
    }
    for (int64_t i = 0; i < cols; ++i) {
      values[i] = static_cast<float>(values[i] + module.scale * sums[i]);
    }
  }

  Tensor base_;
  TensorModules modules_;
};

// Of modules that say the same for all inputs of a group.
class MovedRows : public RowSource {
 public:
  MovedRows(Tensor base, TensorModules modules)
      : base_(std::move(base)), modules_(std::move(modules)) {}

  void Read(int64_t begin, int64_t end, uint8_t* blocks) const override {
    const int64_t cols = base_.cols(), group = OffsetGroup(*base_.grid);
    std::vector<uint8_t> made;
    const Tensor rows = RowsOf(base_, begin, end, made);
    std::vector<float> by(static_cast<size_t>(cols / group));
    for (int64_t r = begin; r < end; ++r, blocks += base_.row_bytes()) {
      const AdapterModule& module = modules_.OfRow(r);
      for (size_t g = 0; g < by.size(); ++g) {
        const float* a = module.a.data() + static_cast<int64_t>(g) * group;
        double sum = 0;
        for (int64_t k = 0; k < module.rank; ++k) sum += modules_.Factor(r, k) * a[k * cols];
        by[g] = static_cast<float>(module.scale * sum);
      }
      MoveOffsets(*base_.grid, rows.row(r - begin).data(), cols, by, blocks);
    }
  }

 private:
  Tensor base_;
  TensorModules modules_;
};

// The adapter's modules by the tensor that they are for.
std::unordered_map<Tensor*, TensorModules> ByTensor(Checkpoint& checkpoint,
                                                    const std::string& adapter) {
  const Architecture& architecture = ArchitectureOf(checkpoint);
  const Hyperparameters parameters = ReadHyperparameters(checkpoint, architecture);
  std::unordered_map<std::string_view, Tensor*> tensors;
  for (Tensor& tensor : checkpoint.tensors) tensors[tensor.name] = &tensor;
  std::unordered_map<Tensor*, TensorModules> found;
  for (AdapterModule& module : ReadAdapterModules(adapter, architecture, parameters)) {
    const auto named = tensors.find(NameInDialect(checkpoint.dialect, module.place));
    if (named == tensors.end()) FailOtherModel(adapter, module, checkpoint.path, std::nullopt);
    Tensor* tensor = named->second;
    const int64_t rows = module.rows(), expert = module.place.expert;
    const bool stacked = tensor->shape.size() == 3 && expert >= 0;
    std::vector<int64_t> expected = {rows, module.cols()};
    if (stacked) expected.insert(expected.begin(), parameters.experts);
    if (tensor->shape != expected || expert >= parameters.experts) {
      FailOtherModel(adapter, module, checkpoint.path, tensor->shape);
    }
    TensorModules& of = found[tensor];
    if (of.modules.empty()) {
      of = {std::vector<AdapterModule>(static_cast<size_t>(stacked ? parameters.experts : 1)),
            RowPlaces(checkpoint.dialect, module.place, parameters, rows), rows};
    }
    of.modules[static_cast<size_t>(stacked ? expert : 0)] = std::move(module);
  }
  return found;
}

// Puts Rows of the tensor and its modules in the tensor's place.
template <class Rows>
void Replace(Tensor& tensor, const Grid& grid, TensorModules modules) {
  auto rows = std::make_shared<Rows>(tensor, std::move(modules));
  tensor.grid = &grid;
  tensor.data = {};
  tensor.owner = nullptr;
  tensor.order = nullptr;
  tensor.source = std::move(rows);
}

bool KeepsCodes(const Tensor& tensor, const TensorModules& modules) {
  const int64_t group = OffsetGroup(*tensor.grid);
  return group != 0 && tensor.order == nullptr &&
         std::ranges::all_of(modules.modules, [&](const AdapterModule& module) {
           return IsSharedInGroups(module, group);
         });
}

}  // namespace

MergedInPlace WithAdapterInPlace(Checkpoint checkpoint, const std::string& adapter) {
  MergedInPlace merged;
  const Architecture& architecture = ArchitectureOf(checkpoint);
  for (auto& [tensor, modules] : ByTensor(checkpoint, adapter)) {
    if (KeepsCodes(*tensor, modules)) {
      ++merged.moved;
      Replace<MovedRows>(*tensor, *tensor->grid, std::move(modules));
    } else {
      const auto place = PlaceOf(architecture, checkpoint.dialect, tensor->name);
      merged.to_round[NameInDialect(Dialect::kGguf, *place)] = tensor->grid;
      Replace<MergedRows>(*tensor, F32Grid(), std::move(modules));
    }
  }
  merged.checkpoint = std::move(checkpoint);
  return merged;
}

Checkpoint WithAdapter(Checkpoint checkpoint, const std::string& adapter) {
  for (auto& [tensor, modules] : ByTensor(checkpoint, adapter)) {
    Replace<MergedRows>(*tensor, F32Grid(), std::move(modules));
  }
  return checkpoint;
}

}  // namespace halftone
