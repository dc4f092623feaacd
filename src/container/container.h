// AXIS: what a container is.
//
// A container says how names, shapes and bytes lie in a file or folder. It knows grids by property
// only and neither methods nor models. See docs/adding-a-container.md.

#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/checkpoint.h"

namespace halftone {

// A tensor that is going to be written.
struct TensorPlan {
  std::string name;
  const Grid* grid = nullptr;
  std::vector<int64_t> shape;  // outermost first
  // As Tensor::order; only containers that say so can keep one (can_store_order).
  std::shared_ptr<const std::vector<int32_t>> order = nullptr;

  uint64_t bytes() const;
};

// Writes one checkpoint, tensor by tensor, so that memory stays bounded by one of them.
class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;

  // The bytes of the next tensor, in the order of the plan; several calls may make up one tensor.
  // Throws Error (kIo) on a full disk.
  virtual void Append(std::span<const uint8_t> bytes) = 0;

  // Finishes and gives the file its name. Without it the destructor leaves nothing behind. All
  // tensors must have been appended.
  virtual void Commit() = 0;
};

// What is going to be written: settings, and each tensor in file order.
struct CheckpointPlan {
  Metadata metadata;                             // GGUF dialect
  std::map<std::string, std::string> documents;  // Hugging Face dialect
  std::vector<TensorPlan> tensors;
  // The data of one file at most; a tensor that is larger has one for itself. 0: what the container
  // does by itself.
  uint64_t split_bytes = 0;
};

struct Container {
  std::string_view name;     // as on the command line: "gguf"
  std::string_view summary;  // one line for the help text
  Dialect dialect;

  // Cheap: looks at the name and the first bytes only. Never throws.
  bool (*recognize)(const std::filesystem::path& path);

  // Maps and validates the whole structure; no tensor data is touched. Throws Error naming file,
  // tensor and offset.
  Checkpoint (*open)(const std::filesystem::path& path);

  // Whether a tensor on this grid can be stored as it is.
  bool (*can_store)(const Grid& grid);

  // Whether a tensor's columns may be grouped in an order of their own (GPTQ's act-order).
  bool can_store_order = false;

  // The exact size of the file that create() with this plan ends in. Null where it cannot write.
  uint64_t (*file_bytes)(const CheckpointPlan& plan);

  // What to open of what create() leaves: the first part of a split file. Null: always `path`.
  std::filesystem::path (*opened)(const std::filesystem::path& path,
                                  const CheckpointPlan& plan) = nullptr;

  // Begins the file at `path`. Null for a container that can only be read.
  std::unique_ptr<CheckpointWriter> (*create)(const std::filesystem::path& path,
                                              const CheckpointPlan& plan);
};

// All containers, in the order of containers.def.
std::span<const Container* const> AllContainers();

// Null where there is none.
const Container* FindContainer(std::string_view name);

// As FindContainer, but throws Error (kUsage) naming the nearest for a name that does not exist.
const Container& ContainerNamed(std::string_view name);

// Opens whatever lies at `path` with the first container that recognizes it. Throws Error (kIo) if
// nothing is there, kUnsupported if nobody recognizes it, kFormat if it is broken.
Checkpoint OpenCheckpoint(const std::filesystem::path& path);

}  // namespace halftone
