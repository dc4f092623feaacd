// The operations a model is made of: one declaration each, behind which a processor's kernels hide.
//
// Activations are f32 in row-major [tokens, width] buffers that the backend allocates. Weights stay
// on their grid and are decoded inside the matrix product. Activations are rounded only where that
// is asked for: by LLM.int8() and by Activations::kInt8. Everything is deterministic: a result
// depends neither on the number of threads nor on which thread ran what.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halftone/activations.h"
#include "halftone/progress.h"
#include "tensor/tensor.h"

namespace halftone {

// A weight matrix [rows, cols] made ready for products by one backend. Privately it may be packed
// differently from the tensor it came from.
class Matrix {
 public:
  virtual ~Matrix() = default;
  int64_t rows = 0;  // outputs
  int64_t cols = 0;  // inputs
};

// Keys and values of the tokens seen so far, of one sequence, on one grid.
class KvCache {
 public:
  virtual ~KvCache() = default;
  uint64_t bytes = 0;   // of all positions it can hold
  int64_t context = 0;  // positions it can hold
};

// Consecutive tokens of one sequence, at positions [position, position + tokens) of its cache. A
// batch is a row of runs of different sequences, whose tokens lie one behind the other.
struct TokenRun {
  KvCache* cache = nullptr;
  int64_t position = 0;
  int64_t tokens = 0;
};

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;
  int64_t layers = 0;
  int64_t context = 0;  // the most positions the cache holds
};

// A matrix and where its product goes, [tokens, w->rows].
struct MatrixProduct {
  const Matrix* w;
  float* y;
};

enum class RopeStyle : uint8_t {
  kInterleaved,  // pairs (2i, 2i+1), as GGUF's llama stores q and k
  kHalves,       // pairs (i, i + rope_dim/2), as Hugging Face does
};

// How pairs of a head's values turn.
struct Rotation {
  RopeStyle style = RopeStyle::kHalves;
  std::span<const float> inverse_frequency;  // of each pair
  float magnitude = 1;                       // cosines and sines are multiplied by it
};

// What becomes of the product of a query and a key: s = q . k * scale, then
// softcap * tanh(s / softcap) where softcap is not 0.
struct ScoreForm {
  float scale = 1;
  float softcap = 0;
  int64_t window = 0;  // the last positions that a token sees, its own included; 0: all
};

// c [m, n] from sums over k.
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
};

// One step of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch takes it: with
// g = gradient * gradient_factor and the moments m and v,
//   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2,
//   value = value * (1 - learning_rate * weight_decay)
//         - learning_rate * m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps).
struct AdamWStep {
  int64_t step = 1;  // from 1 on
  float learning_rate = 0;
  float beta1 = 0.9f, beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
  float gradient_factor = 1;
};

// A moment in 8 bits, as bitsandbytes keeps it: of each kMomentBlock values the largest magnitude,
// and of each the code of its share of that (grid/dynamic_levels.h; v's levels are unsigned).
inline constexpr int64_t kMomentBlock = 256;
struct Moment8 {
  uint8_t* codes;
  float* absmax;
};

// Which values of an array are left out: value i is where the half of Mix(key + (i / 2 + 1) *
// 0x9E3779B97F4A7C15) (base/mix.h) that i is of, the lower one for even i, is less than rate *
// 2^32.
struct Dropout {
  float rate = 0;  // 0 <= rate < 1; 0: none is
  uint64_t key = 0;
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual int threads() const = 0;

  // From now on every operation asks `progress`, on the calling thread, whether to go on, and
  // throws Error (kCancelled) where it says no: what the operation was to write is then half
  // written, all else as before. null: asks nobody.
  virtual void Watch(Progress* progress) = 0;
  virtual Progress* watched() const = 0;

  // n zeroed floats in this backend's memory.
  virtual std::shared_ptr<float[]> Allocate(int64_t n) = 0;

  // Makes a 2-D tensor ready for MatMul and EmbedRows. The tensor's data is used as it lies
  // (mapped) unless the backend packs it; the matrix keeps it alive.
  virtual std::unique_ptr<Matrix> Prepare(const Tensor& tensor) = 0;

  // Makes a matrix for LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339) of a 2-D tensor whose
  // rows have one scale, their largest magnitude, and 8-bit codes (IsAbsmaxRows in
  // grid/grouped.h). MatMul then computes, for each token on its own, with h = x rounded to f16
  // (to its largest finite number beyond it):
  //   out     = the columns where |h| >= threshold; none where threshold is 0
  //   s       = max |h[i]| over the columns that are not out
  //   c[i]    = h[i] * 127 / s rounded to the nearest integer, ties to even; 0 for columns out
  //   y[o]    = (sum_i c[i] * code[o, i]) * s * scale[o] / 127^2    the sum exact, in integers
  //           + sum_{i out} x[i] * w[o, i]                         in f32
  // A token with a value that is not finite gives NaN. bitsandbytes takes a column out for all
  // tokens of a batch as soon as one of them is large there; here a token's result does not depend
  // on its batch. Everything else is bitsandbytes' arithmetic. The result is the same on every
  // instruction set. Not for EmbedRows. Throws Error (kUnsupported) for other tensors and for more
  // than 2^17 columns, and Error (kUsage) for a threshold below 0.
  virtual std::unique_ptr<Matrix> PrepareInt8(const Tensor& tensor, float threshold) = 0;

  // y[t, o] = sum_i x[t, i] * w[o, i]   x: [tokens, cols], y: [tokens, rows].
  virtual void MatMul(const Matrix& w, const float* x, int64_t tokens, float* y) = 0;

  // What MatMul gives for each matrix, all of which have as many columns: the inputs are prepared
  // once and the rows of all shared out together.
  virtual void MatMulAll(std::span<const MatrixProduct> products, const float* x, int64_t tokens) {
    for (const MatrixProduct& product : products) MatMul(*product.w, x, tokens, product.y);
  }

  // y[t, :] = w[ids[t], :]; 0 <= ids[t] < w.rows.
  virtual void EmbedRows(const Matrix& w, std::span<const int32_t> ids, float* y) = 0;

  // y[t, i] = x[t, i] / sqrt(mean_i x^2 + eps) * weight[i]. y may be x.
  virtual void RmsNorm(const float* x, const float* weight, float eps, int64_t tokens,
                       int64_t width, float* y) = 0;

  // Rotates pairs of each head's first 2 * pairs values of x [positions.size(), heads, head_dim] in
  // place. Pair i of token t turns by positions[t] * inverse_frequency[i]; the f32 products and the
  // sine and cosine follow torch's order: angle = f32(position) * f32(inverse_frequency). Negative
  // frequencies turn back, as the derivatives of what was turned want it.
  virtual void Rope(float* x, std::span<const int64_t> positions, int64_t heads, int64_t head_dim,
                    const Rotation& rotation) = 0;

  // A cache whose keys and values are rounded to `grid`, each head's apart, padded with zeros to
  // whole blocks. Throws Error (kUsage) for a grid that is not among CacheGrids().
  virtual std::unique_ptr<KvCache> MakeCache(const AttentionShape& shape, const Grid& grid) = 0;

  // Stores k and v [tokens, kv_heads, head_dim] of the runs' tokens in their caches, then each
  // token attends causally to the stored positions of its own sequence up to its own, or to the
  // last of them alone (ScoreForm::window):
  //   out[t, h] = softmax_p(score(q[t, h], k[p, h'])) v[p, h'],  h' = h * kv_heads / heads,
  // k and v being the stored ones, rounded to the cache's grid. All caches have one shape, but for
  // the context.
  // q, out: [tokens, heads, head_dim].
  virtual void Attention(std::span<const TokenRun> runs, int64_t layer, const float* q,
                         const float* k, const float* v, const ScoreForm& form, float* out) = 0;

  // x[i] += y[i].
  virtual void Add(float* x, const float* y, int64_t n) = 0;

  // x[t, i] += bias[i].
  virtual void AddBias(float* x, const float* bias, int64_t tokens, int64_t width) = 0;

  // sum[i, j] += sum_t a[t, i] * b[t, j]   a, b: [tokens, cols], sum: [cols, cols]. Where a is b
  // only j <= i is added to.
  virtual void AddOuterProducts(const float* a, const float* b, int64_t tokens, int64_t cols,
                                double* sum) = 0;

  // In all that follow, what is not finite makes what it meets not finite: no softmax, cap or gate
  // hides a broken weight.

  // gate[i] = silu(gate[i]) * up[i], silu(v) = v / (1 + exp(-v)).
  virtual void SiluMultiply(float* gate, const float* up, int64_t n) = 0;

  // gate[i] = gelu(gate[i]) * up[i], gelu(v) = v / 2 * (1 + tanh(sqrt(2/pi) * (v + 0.044715 v^3))).
  virtual void GeluMultiply(float* gate, const float* up, int64_t n) = 0;

  // x[i] *= factor.
  virtual void Scale(float* x, float factor, int64_t n) = 0;

  // x[i] = cap * tanh(x[i] / cap).
  virtual void SoftCap(float* x, float cap, int64_t n) = 0;

  // Of each token's logits [experts] the `used` largest (of equals those with the lower number), in
  // ascending order of the experts: chosen, weights [tokens, used]. Weights are the softmax over
  // all experts, or with `normalized` over those chosen.
  virtual void ChooseExperts(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                             bool normalized, int32_t* chosen, float* weights) = 0;

  // y[i, :] = x[rows[i], :].
  virtual void GatherRows(const float* x, std::span<const int32_t> rows, int64_t width,
                          float* y) = 0;

  // y[t, :] = sum_j weights[t, j] * x[rows[t, j], :], j < each, in that order; rows, weights:
  // [tokens, each], or null for weights that are all 1.
  virtual void SumRows(const float* x, std::span<const int32_t> rows, const float* weights,
                       int64_t each, int64_t width, float* y) = 0;

  // ---- Training. "d" before a name stands for the derivative of the loss by it; weights on a grid
  // are constants. ----

  // dx[t, i] += sum_o dy[t, o] * w[o, i], whatever MatMul does with its inputs. Throws Error
  // (kUnsupported) for a matrix of PrepareInt8.
  virtual void MatMulBack(const Matrix& w, const float* dy, int64_t tokens, float* dx) = 0;

  // Products of plain matrices, which may change from call to call.
  // y[t, r] = sum_i x[t, i] * w[r, i]   x: [tokens, cols], w: [rows, cols], y: [tokens, rows].
  virtual void Multiply(const float* w, int64_t rows, int64_t cols, const float* x, int64_t tokens,
                        float* y) = 0;
  // c[m, n] += factor * sum_k a[m, k] * b[k, n].
  virtual void AddProduct(const float* a, const float* b, const ProductShape& shape, float factor,
                          float* c) = 0;
  // c[m, n] += factor * sum_k a[k, m] * b[k, n].
  virtual void AddTurnedProduct(const float* a, const float* b, const ProductShape& shape,
                                float factor, float* c) = 0;

  // dx of RmsNorm: with s = 1 / sqrt(mean_i x^2 + eps),
  //   dx[i] = s * weight[i] * dy[i] - x[i] * s^3 / width * sum_j x[j] * weight[j] * dy[j].
  // dx may be dy.
  virtual void RmsNormBack(const float* x, const float* weight, float eps, const float* dy,
                           int64_t tokens, int64_t width, float* dx) = 0;

  // dq, dk and dv of Attention for whole sequences, which lie one behind the other and begin at
  // position 0; q, k and v are what Attention was given and kept in f32. Shapes as there.
  virtual void AttentionBack(std::span<const int64_t> lengths, const AttentionShape& shape,
                             const float* q, const float* k, const float* v, const ScoreForm& form,
                             const float* dout, float* dq, float* dk, float* dv) = 0;

  // dgate and dup of y = silu(gate) * up and y = gelu(gate) * up. dup may be dy.
  virtual void SiluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                                float* dgate, float* dup) = 0;
  virtual void GeluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                                float* dgate, float* dup) = 0;

  // dx[i] = dy[i] * (1 - (y[i] / cap)^2), of y = SoftCap(x), in place.
  virtual void SoftCapBack(const float* y, float cap, int64_t n, float* dy) = 0;

  // dlogits [tokens, experts] of ChooseExperts, whose choice stays: with w = weights[t, j] and
  // s = sum_j dweights[t, j] * w over those chosen,
  //   dlogits[t, e] = w (dweights[t, j] - s) where e is the chosen j, and of the others 0 with
  //   `normalized`, else -p s, p being the softmax over all experts.
  virtual void ChooseExpertsBack(const float* logits, int64_t tokens, int64_t experts, int64_t used,
                                 bool normalized, const int32_t* chosen, const float* weights,
                                 const float* dweights, float* dlogits) = 0;

  // dx and dweights of SumRows, of which each row of x is in one sum: dx[rows[t, j], :] =
  // weights[t, j] * dy[t, :], dweights[t, j] = sum_i x[rows[t, j], i] * dy[t, i]. dx may be x.
  virtual void SumRowsBack(const float* x, std::span<const int32_t> rows, const float* weights,
                           int64_t each, int64_t width, const float* dy, float* dx,
                           float* dweights) = 0;

  // y[i] = x[i] / (1 - rate), or x[i] * 0 where it is left out (Srivastava et al. 2014), which is
  // its own derivative. y may be x.
  virtual void DropOut(const float* x, int64_t n, const Dropout& dropout, float* y) = 0;

  // losses[t] = log sum_j exp(logits[t, j]) - logits[t, targets[t]]; the logits [tokens, width]
  // become the derivatives of factor * the sum of the losses by them.
  virtual void CrossEntropy(float* logits, std::span<const int32_t> targets, int64_t width,
                            float factor, double* losses) = 0;

  // Takes a step with n values, whose moments are kept in f32 or in 8 bits.
  virtual void StepAdamW(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                         float* first, float* second) = 0;
  virtual void StepAdamW8(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                          const Moment8& first, const Moment8& second) = 0;
};

// The grids that a cache can be on, from most to fewest bits.
std::vector<const Grid*> CacheGrids();

// The CPU backend. threads counts the calling thread; 0: one for each processor. The instruction
// set is chosen at run time; the environment variable HALFTONE_ISA forces one (kernel/cpu/isa.h).
// Rounded activations are described in kernel/cpu/rounded.h. `watched`: as Ops::Watch.
std::unique_ptr<Ops> MakeCpuOps(int threads, Activations activations = Activations::kF32,
                                Progress* watched = nullptr);

// For as long as it lives `ops` watch `progress`, or where that is null whom they did.
class WatchedOps {
 public:
  WatchedOps(Ops& ops, Progress* progress) : ops_(ops), before_(ops.watched()) {
    if (progress != nullptr) ops_.Watch(progress);
  }
  ~WatchedOps() { ops_.Watch(before_); }
  WatchedOps(const WatchedOps&) = delete;
  WatchedOps& operator=(const WatchedOps&) = delete;

 private:
  Ops& ops_;
  Progress* before_;
};

}  // namespace halftone
