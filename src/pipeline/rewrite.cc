#include "pipeline/rewrite.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"

namespace halftone {

const Container& ChooseContainer(const std::string& name, const Grid& grid) {
  if (name.empty()) {
    for (const Container* container : AllContainers()) {
      if (container->create != nullptr && container->can_store(grid)) return *container;
    }
    FailUnsupported("no container holds grid '{}'", grid.name);
  }
  const Container& container = ContainerNamed(name);
  if (container.create == nullptr) {
    FailUsage("container '{}' can be read but not written", container.name);
  }
  return container;
}

void CheckStorable(const RewritePlan& plan) {
  for (const TensorPlan& tensor : plan.file.tensors) {
    if (!plan.container->can_store(*tensor.grid)) {
      FailUsage("container '{}' cannot hold grid '{}' (tensor '{}')", plan.container->name,
                tensor.grid->name, tensor.name);
    }
    if (tensor.order != nullptr && !plan.container->can_store_order) {
      FailUsage("container '{}' cannot keep the order of columns of tensor '{}'",
                plan.container->name, tensor.name);
    }
  }
}

void CheckOutput(const std::string& input, const std::string& output, const Container& container) {
  std::error_code error;
  if (std::filesystem::equivalent(input, output, error)) {
    FailUsage("{}: the output is the input", output);
  }
  if (container.dialect == Dialect::kGguf && std::filesystem::is_directory(output, error)) {
    FailUsage("{}: the output is a folder, expected a file name", output);
  }
}

std::optional<uint32_t> MostlyFileType(const RewritePlan& plan) {
  std::map<std::string_view, int64_t> weights;
  for (const Job& job : plan.jobs) weights[job.choice.grid->name] += job.source->tensor.count();
  const auto most = std::ranges::max_element(weights, {}, [](const auto& w) { return w.second; });
  if (most == weights.end()) return std::nullopt;
  const Preset* preset = FindPreset(most->first);
  if (preset == nullptr || preset->gguf_file_type < 0) return std::nullopt;
  return static_cast<uint32_t>(preset->gguf_file_type);
}

QuantizeReport MakeReport(const RewritePlan& plan, const std::string& output) {
  QuantizeReport report;
  report.output = output;
  report.container = plan.container->name;
  report.file_bytes = plan.container->file_bytes(plan.file);
  for (const Job& job : plan.jobs) {
    const Tensor& from = job.source->tensor;
    QuantizedTensor tensor;
    tensor.name = from.name;
    tensor.shape = from.shape;
    tensor.source_grid = from.grid->title;
    tensor.grid = job.choice.grid->title;
    tensor.bytes = TensorPlan{from.name, job.choice.grid, from.shape}.bytes();
    tensor.note = job.choice.note;
    report.tensor_bytes += tensor.bytes;
    report.tensors.push_back(std::move(tensor));
  }
  report.bits_per_weight = 8.0 * static_cast<double>(report.tensor_bytes) /
                           static_cast<double>(std::max<int64_t>(1, plan.source->parameters));
  return report;
}

RewriteWriter::RewriteWriter(const RewritePlan& plan, const std::string& output)
    : plan_(plan),
      writer_(plan.container->create(output, plan.file)),
      waiting_(plan.jobs.size()),
      ready_(plan.jobs.size()) {
  Advance();
}

// Writes everything that is ready, in order.
void RewriteWriter::Advance() {
  for (; next_ < plan_.jobs.size(); ++next_) {
    const Job& job = plan_.jobs[next_];
    if (job.choice.quantize) {
      if (!ready_[next_]) return;
      writer_->Append(InFileOrder(*plan_.source, *job.source, plan_.container->dialect,
                                  *job.choice.grid, std::move(waiting_[next_])));
      waiting_[next_] = {};
      continue;
    }
    writer_->Append(KeptBytes(*plan_.source, *job.source, plan_.container->dialect));
  }
}

void RewriteWriter::Put(size_t job, std::vector<uint8_t> blocks) {
  waiting_[job] = std::move(blocks);
  ready_[job] = true;
  Advance();
}

void RewriteWriter::Append(std::span<const uint8_t> piece, bool last) {
  if (plan_.container->dialect == Dialect::kGguf) {
    writer_->Append(piece);
    if (!last) return;
    ++next_;
    Advance();
    return;
  }
  std::vector<uint8_t>& waiting = waiting_[next_];
  waiting.insert(waiting.end(), piece.begin(), piece.end());
  if (last) Put(next_, std::move(waiting));
}

void RewriteWriter::Commit() { writer_->Commit(); }

void ChangeSum::Add(std::span<const float> weights, int64_t rows, int64_t cols, const Grid& grid,
                    std::span<const uint8_t> blocks, ThreadPool& pool) {
  std::vector<ChangeSum> each(static_cast<size_t>(rows));
  std::vector<std::vector<float>> decoded(static_cast<size_t>(pool.threads()),
                                          std::vector<float>(static_cast<size_t>(cols)));
  pool.For(rows, [&](int64_t r, int thread) {
    float* back = decoded[thread].data();
    grid.Decode(blocks.data() + static_cast<uint64_t>(r) * grid.RowBytes(cols), cols, back);
    const float* w = weights.data() + r * cols;
    for (int64_t c = 0; c < cols; ++c) {
      const double difference = static_cast<double>(w[c]) - back[c];
      each[r].weight += static_cast<double>(w[c]) * w[c];
      each[r].change += difference * difference;
    }
  });
  for (const ChangeSum& sum : each) {  // in row order, whatever the threads did
    weight += sum.weight;
    change += sum.change;
  }
}

double ChangeSum::Relative() const { return weight > 0 ? std::sqrt(change / weight) : 0; }

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace halftone
