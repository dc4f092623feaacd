// Writing a model anew: what quantize and convert share.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "container/container.h"
#include "halftone/quantize.h"
#include "pipeline/presets.h"
#include "pipeline/source.h"

namespace halftone {

// What happens to one tensor.
struct Job {
  const GgufTensor* source = nullptr;
  TensorChoice choice;
  std::vector<float> importance;  // [matrices, cols] or empty
  // Set by ListTensors: how it lies in the file, and the first of the file's tensors that are its.
  DialectPlace place = {};
  size_t first = 0;
};

struct RewritePlan {
  std::shared_ptr<const Source> source;
  const Container* container = nullptr;
  std::vector<Job> jobs;  // in file order
  CheckpointPlan file;    // its tensors are the jobs' in their order: one each, several of experts
  // Whether tensors that are copied must be finite numbers, as those that are rounded must.
  bool checks_copies = false;
};

// The file's tensors, of jobs that are known. What GGUF has in f32 whatever it was (norms with an
// offset, routers) goes to the grid of most plain matrices where it is as the source has it and
// that grid holds it.
void ListTensors(RewritePlan& plan);

// "no token met experts 3, 5": says which of a tensor's matrices calibration has not touched. Empty
// for none.
std::string UnseenNote(const std::vector<int64_t>& unseen, bool experts);

// The container of that name; where it is empty, the first that can store the grid. Throws Error
// (kUsage) if it cannot be written.
const Container& ChooseContainer(const std::string& name, const Grid& grid);

// Throws Error (kUsage) if the container cannot hold one of the plan's tensors.
void CheckStorable(const RewritePlan& plan);

// What to open of what is written at `output`.
std::string OpenedOutput(const RewritePlan& plan, const std::string& output);

// Throws Error (kUsage) if the output is the input, or a folder where a file is to be written.
void CheckOutput(const std::string& input, const std::string& output, const RewritePlan& plan);

// general.file_type of the grid that most weights are on; none if that has none.
std::optional<uint32_t> MostlyFileType(const RewritePlan& plan);

// Names, sizes and notes of the plan's tensors; nothing measured yet.
QuantizeReport MakeReport(const RewritePlan& plan, const std::string& output);

// Writes the plan's tensors in their order, whatever order they are finished in.
class RewriteWriter {
 public:
  // Copying asks `progress` (null: nobody) whether to go on, and throws Error: kCancelled, and
  // kFormat for numbers that the plan says must be finite.
  RewriteWriter(const RewritePlan& plan, const std::string& output, Progress* progress = nullptr);

  // All blocks of a quantized job's tensor, in GGUF order. Tensors that are not quantized are
  // copied when their turn comes.
  void Put(size_t job, std::vector<uint8_t> blocks);

  // A piece of the first quantized job that has not been written, for tensors that are never whole
  // in memory; `last` ends it.
  void Append(std::span<const uint8_t> piece, bool last);

  // Finishes the file; every quantized job must have been put.
  void Commit();

 private:
  void Advance();
  void Copy(const Job& job);
  void Write(std::vector<uint8_t> blocks);

  const RewritePlan& plan_;
  std::string output_;
  Progress* progress_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::vector<std::vector<uint8_t>> waiting_;  // by job
  std::vector<bool> ready_;
  size_t next_ = 0;
};

// The relative change that blocks of a tensor's rows mean: root mean squares.
struct ChangeSum {
  double weight = 0;
  double change = 0;
  void Add(std::span<const float> weights, int64_t rows, int64_t cols, const Grid& grid,
           std::span<const uint8_t> blocks, ThreadPool& pool);
  double Relative() const;
};

}  // namespace halftone
