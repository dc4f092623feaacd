// The CPU backend of kernel/ops.h.
//
// A matrix product walks over strips of rows. A strip is decoded from its grid to f32 in a thread's
// own scratch, which stays in that core's cache, and multiplied in f32: activations are never
// rounded. For one token each weight is decoded once and used once; for many tokens the decoding is
// shared by all of them.
//
// LLM.int8() is apart (int8_ops.h): tokens are rounded first, then panels of rows multiply them in
// integers. So are products with rounded activations (rounded.h), where those are asked for and the
// grid has them.
//
// Its parts: cpu_products.cc, cpu_attention.cc, cpu_experts.cc, cpu_training.cc, and cpu_ops.cc for
// what goes element by element. One CpuOps serves one caller at a time.

#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernel/cpu/attention.h"
#include "kernel/cpu/bf16_ops.h"
#include "kernel/cpu/decode.h"
#include "kernel/cpu/gradient_ops.h"
#include "kernel/cpu/int8_ops.h"
#include "kernel/cpu/isa.h"
#include "kernel/cpu/rounded.h"
#include "kernel/cpu/vector_ops.h"
#include "kernel/ops.h"

namespace halftone {

// Elementwise work below this many floats stays on the calling thread.
inline constexpr int64_t kSplitFloats = 16384;
// Multiply-adds from which on work is cut into more pieces than usual.
inline constexpr int64_t kManyPiecesWork = 1 << 28;

// Rows of a result that the products of training take together; pieces of them are whole tiles.
inline constexpr int64_t kTileRows = 6;

constexpr int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

class CpuOps : public Ops {
 public:
  CpuOps(int threads, Isa isa, Activations activations = Activations::kF32,
         Progress* watched = nullptr);

  int threads() const override { return pool_.threads(); }
  void Watch(Progress* progress) override { pool_.Watch(progress); }
  Progress* watched() const override { return pool_.watched(); }
  std::shared_ptr<float[]> Allocate(int64_t n) override;
  std::unique_ptr<Matrix> Prepare(const Tensor& tensor) override;
  std::unique_ptr<Matrix> PrepareInt8(const Tensor& tensor, float threshold) override;
  void MatMul(const Matrix& w, const float* x, int64_t tokens, float* y) override;
  void MatMulAll(std::span<const MatrixProduct> products, const float* x, int64_t tokens) override;
  void EmbedRows(const Matrix& w, std::span<const int32_t> ids, float* y) override;
  void RmsNorm(const float* x, const float* weight, float eps, int64_t tokens, int64_t width,
               float* y) override;
  void Rope(float* x, std::span<const int64_t> positions, int64_t heads, int64_t head_dim,
            const Rotation& rotation) override;
  std::unique_ptr<KvCache> MakeCache(const AttentionShape& shape, const Grid& grid) override;
  void Attention(std::span<const TokenRun> runs, int64_t layer, const float* q, const float* k,
                 const float* v, const ScoreForm& form, float* out) override;
  void Add(float* x, const float* y, int64_t n) override;
  void AddBias(float* x, const float* bias, int64_t tokens, int64_t width) override;
  void AddOuterProducts(const float* a, const float* b, int64_t tokens, int64_t cols,
                        double* sum) override;
  void SiluMultiply(float* gate, const float* up, int64_t n) override;
  void GeluMultiply(float* gate, const float* up, int64_t n) override;
  void Scale(float* x, float factor, int64_t n) override;
  void SoftCap(float* x, float cap, int64_t n) override;
  void ChooseExperts(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                     bool normalized, int32_t* chosen, float* weights) override;
  void GatherRows(const float* x, std::span<const int32_t> rows, int64_t width, float* y) override;
  void SumRows(const float* x, std::span<const int32_t> rows, const float* weights, int64_t each,
               int64_t width, float* y) override;
  void MatMulBack(const Matrix& w, const float* dy, int64_t tokens, float* dx) override;
  void Multiply(const float* w, int64_t rows, int64_t cols, const float* x, int64_t tokens,
                float* y) override;
  void AddProduct(const float* a, const float* b, const ProductShape& shape, float factor,
                  float* c) override;
  void AddTurnedProduct(const float* a, const float* b, const ProductShape& shape, float factor,
                        float* c) override;
  void RmsNormBack(const float* x, const float* weight, float eps, const float* dy, int64_t tokens,
                   int64_t width, float* dx) override;
  void AttentionBack(std::span<const int64_t> lengths, const AttentionShape& shape, const float* q,
                     const float* k, const float* v, const ScoreForm& form, const float* dout,
                     float* dq, float* dk, float* dv) override;
  void SiluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                        float* dgate, float* dup) override;
  void GeluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                        float* dgate, float* dup) override;
  void SoftCapBack(const float* y, float cap, int64_t n, float* dy) override;
  void ChooseExpertsBack(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                         bool normalized, const int32_t* chosen, const float* weights,
                         const float* dweights, float* dlogits) override;
  void SumRowsBack(const float* x, std::span<const int32_t> rows, const float* weights,
                   int64_t each, int64_t width, const float* dy, float* dx,
                   float* dweights) override;
  void DropOut(const float* x, int64_t n, const Dropout& dropout, float* y) override;
  void CrossEntropy(float* logits, std::span<const int32_t> targets, int64_t width, float factor,
                    double* losses) override;
  void StepAdamW(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                 float* first, float* second) override;
  void StepAdamW8(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                  const Moment8& first, const Moment8& second) override;

 private:
  // Cosines and sines of the positions, `pairs` each.
  struct RopeTable {
    std::vector<float> inverse_frequency;
    float magnitude = 1;
    std::vector<int64_t> positions;
    std::vector<float> cosines, sines;  // [positions, pairs]
  };

  const RopeTable& TableFor(const Rotation& rotation, std::span<const int64_t> positions);
  // Calls body(begin, end) on pieces of [0, n), on the calling thread alone where a hand-off costs
  // more than the work. A piece's borders are multiples of `unit`. Long work is in pieces also
  // where there is one thread: between them it can be cancelled.
  template <class Body>
  void Split(int64_t n, int64_t unit, int64_t work, Body&& body);
  void MatMulInt8(const Int8Weights& w, float threshold, const float* x, int64_t tokens, float* y);
  // Whether products of this matrix round their inputs to RoundedBlocks.
  bool Rounds(const Matrix& w) const;
  void MatMulRounded(std::span<const MatrixProduct> products, const float* x, int64_t tokens);
  // Rows [begin, end) of a product with several tokens; begin is where a panel begins.
  void MultiplyPanels(const MatrixProduct& product, const RoundedBlock* blocks, int64_t tokens,
                      int64_t begin, int64_t end, int thread);
  void MatMulBf16(const Matrix& w, const float* x, int64_t tokens, float* y);
  void MatMulBackBf16(const Matrix& w, const float* dy, int64_t tokens, float* dx);
  // x [tokens, cols] in bf16, cut into stretches of kBf16Depth columns: [stretches, tokens,
  // kBf16Depth], zeros behind the last column up to a whole vector. Rows of a wide matrix lie a
  // power of two apart and would push one another out of the caches.
  const uint16_t* RoundToBf16(const float* x, int64_t tokens, int64_t cols);
  // Rounds tokens [tokens, cols]; block b of token t is at [b * tokens + t].
  const RoundedBlock* RoundTokens(const float* x, int64_t tokens, int64_t cols);
  const float* Gather(const std::vector<int32_t>& order, const float* x, int64_t tokens);
  // x [tokens, cols] with its columns as rows, in `turned`.
  const float* Turn(const float* x, int64_t tokens, int64_t cols, std::vector<float>& turned);
  // Query heads of one key-value head that share a pass over its cache, where a head has few rows;
  // `passes`: over all heads of a cache.
  int64_t HeadsTogether(const AttentionShape& shape, int64_t passes) const;
  void StoreKeysAndValues(std::span<const TokenRun> runs, int64_t layer, const float* k,
                          const float* v);
  // At least `floats` of scratch for every thread.
  void ReserveScratch(int64_t floats);
  float* Scratch(int thread) { return scratch_.get() + thread * scratch_floats_; }

  ThreadPool pool_;
  Isa isa_;
  const VectorOps& vector_;
  const AttentionOps& attention_;
  const GradientOps& gradient_;
  const Int8Ops& int8_;
  const RoundedOps* rounded_;         // null where activations are not rounded so
  const Bf16Ops* bf16_;               // likewise
  std::shared_ptr<float[]> scratch_;  // [threads, scratch_floats_]
  int64_t scratch_floats_ = 0;
  std::shared_ptr<float[]> gathered_;  // inputs in the order of a matrix's blocks
  int64_t gathered_floats_ = 0;
  Int8Batch int8_batch_;
  std::shared_ptr<float[]> rounded_blocks_;
  int64_t rounded_count_ = 0;                      // blocks that fit there
  std::vector<float> turned_left_, turned_right_;  // of AddOuterProducts
  // Of MatMulBack: decoded rows, and inputs in the order of a matrix's blocks.
  std::shared_ptr<float[]> panel_;
  int64_t panel_floats_ = 0;
  std::shared_ptr<float[]> bf16_inputs_;
  int64_t bf16_floats_ = 0;
  std::vector<float> ordered_;
  std::vector<float> head_keys_, head_values_;  // of AttentionBack, [tokens, heads, head_dim]
  // Two, since some models turn their local and global layers at different speeds.
  struct RopeTables {
    std::array<RopeTable, 2> tables;
    size_t oldest = 0;
  };
  RopeTables forth_, back_;  // of negative frequencies: those of training
};

template <class Body>
void CpuOps::Split(int64_t n, int64_t unit, int64_t work, Body&& body) {
  const int64_t units = (n + unit - 1) / unit;
  if (work < (threads() == 1 ? kManyPiecesWork : kSplitFloats) || units < 2) {
    pool_.Look();
    if (n > 0) body(0, n, 0);
    return;
  }
  // Of long work more, so that no thread waits long for another's last one.
  const int64_t each = work < kManyPiecesWork ? 4 : 16;
  const int64_t pieces = std::min<int64_t>(units, threads() * each);
  pool_.For(pieces, [&](int64_t piece, int thread) {
    const int64_t begin = units * piece / pieces * unit;
    const int64_t end = std::min(n, units * (piece + 1) / pieces * unit);
    body(begin, end, thread);
  });
}

}  // namespace halftone
