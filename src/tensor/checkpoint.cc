#include "tensor/checkpoint.h"

#include <algorithm>

#include "base/error.h"

namespace halftone {
namespace {

// Less than this is not worth reading again.
constexpr uint64_t kKeptBytes = uint64_t{256} << 20;

}  // namespace

const Tensor* Checkpoint::Find(std::string_view name) const {
  const auto it = std::ranges::find(tensors, name, &Tensor::name);
  return it == tensors.end() ? nullptr : &*it;
}

const Tensor& Checkpoint::Get(std::string_view name) const {
  if (const Tensor* tensor = Find(name)) return *tensor;
  FailFormat("{}: tensor '{}' is missing", path, name);
}

void Checkpoint::GiveBackPages() const {
  if (file_bytes < kKeptBytes) return;
  for (const auto& file : mapped) file->GiveBackPages();
}

}  // namespace halftone
