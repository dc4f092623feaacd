#include "calibration/importance.h"

#include <map>
#include <vector>

#include "engine/cancel_tap.h"

namespace halftone {
namespace {

struct Sum {
  std::vector<double> squares;  // [matrices, cols]
  std::vector<int64_t> tokens;  // of each matrix
};

class SquareTap : public Tap {
 public:
  SquareTap(const Checkpoint& checkpoint, bool process_output, Progress* progress)
      : checkpoint_(checkpoint), cancel_(progress), process_output_(process_output) {}

  void OnInput(std::string_view weight, const float* x, int64_t tokens, int64_t cols) override {
    // The weights of stages that are done have no business in memory: the model may be larger.
    checkpoint_.GiveBackPages();
    cancel_.Check();
    if (!weight.starts_with("blk.") && !process_output_) return;
    OnExpertInput(weight, 0, 1, x, tokens, cols);
  }

  void OnExpertInput(std::string_view weight, int64_t expert, int64_t experts, const float* x,
                     int64_t tokens, int64_t cols) override {
    Sum& sum = sums_[std::string(weight)];
    sum.squares.resize(static_cast<size_t>(experts * cols));
    sum.tokens.resize(static_cast<size_t>(experts));
    double* squares = sum.squares.data() + expert * cols;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < cols; ++c) {
        const double v = x[t * cols + c];
        squares[c] += v * v;
      }
    }
    sum.tokens[static_cast<size_t>(expert)] += tokens;
  }

  const std::map<std::string, Sum, std::less<>>& sums() const { return sums_; }

 private:
  const Checkpoint& checkpoint_;
  CancelTap cancel_;
  bool process_output_;
  std::map<std::string, Sum, std::less<>> sums_;
};

}  // namespace

ImportanceMatrix AccumulateImportance(std::shared_ptr<const LoadedModel> model,
                                      const ChunkedText& chunks, const std::string& source,
                                      bool process_output, Progress* progress) {
  const int64_t vocabulary = model->weights.parameters.vocabulary;
  Session session(model, chunks.length, F32Grid(), chunks.length);
  SquareTap tap(model->checkpoint, process_output, progress);
  // The output matrix sees every token only if logits of every token are asked for.
  const int64_t wanted = process_output ? chunks.length : 0;
  std::vector<float> logits(static_cast<size_t>(wanted * vocabulary));
  if (progress) progress->Begin("calibrate", chunks.count * chunks.length);
  for (int64_t i = 0; i < chunks.count; ++i) {
    session.Rewind(0);
    session.Append(chunks.chunk(i), wanted, logits.data(), &tap);
    if (progress) progress->Advance((i + 1) * chunks.length);
  }
  if (progress) progress->End();

  ImportanceMatrix matrix;
  matrix.datasets = {source};
  matrix.chunk_count = chunks.count;
  matrix.chunk_size = chunks.length;
  for (const auto& [name, sum] : tap.sums()) {
    ImportanceEntry& entry = matrix.entries[name];
    entry.sum_squares.assign(sum.squares.begin(), sum.squares.end());
    entry.counts.assign(sum.tokens.begin(), sum.tokens.end());
  }
  return matrix;
}

}  // namespace halftone
