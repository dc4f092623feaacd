#include "tensor/checkpoint.h"

#include <algorithm>

#include "base/error.h"

namespace halftone {

const Tensor* Checkpoint::Find(std::string_view name) const {
  const auto it = std::ranges::find(tensors, name, &Tensor::name);
  return it == tensors.end() ? nullptr : &*it;
}

const Tensor& Checkpoint::Get(std::string_view name) const {
  if (const Tensor* tensor = Find(name)) return *tensor;
  FailFormat("{}: tensor '{}' is missing", path, name);
}

void Checkpoint::GiveBackPages() const {
  for (const auto& file : mapped) file->GiveBackPages();
}

}  // namespace halftone
