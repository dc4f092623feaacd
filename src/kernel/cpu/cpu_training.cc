// Training of CpuOps: the derivatives of what the other parts compute, but for MatMulBack
// (cpu_products.cc), and products of plain matrices.

#include <algorithm>
#include <cmath>

#include "base/mix.h"
#include "grid/dynamic_levels.h"
#include "kernel/cpu/cpu_ops.h"

namespace halftone {
namespace {

constexpr int64_t kColumnUnit = 64;  // of a result, that one thread has
constexpr int64_t kQueryBlock = 48;  // queries of AttentionBack that meet a head's keys together

}  // namespace

void CpuOps::Multiply(const float* w, int64_t rows, int64_t cols, const float* x, int64_t tokens,
                      float* y) {
  Split(tokens, kTileRows, rows * cols * tokens, [&](int64_t begin, int64_t end, int) {
    vector_.dot_panel(w, cols, rows, x + begin * cols, cols, end - begin, cols, y + begin * rows,
                      rows);
  });
}

void CpuOps::AddProduct(const float* a, const float* b, const ProductShape& s, float factor,
                        float* c) {
  Split(s.m, kTileRows, s.m * s.n * s.k, [&](int64_t begin, int64_t end, int) {
    gradient_.add_product({a + begin * s.k, s.k}, {b, s.n}, end - begin, s.n, s.k, factor,
                          c + begin * s.n, s.n);
  });
}

void CpuOps::AddTurnedProduct(const float* a, const float* b, const ProductShape& s, float factor,
                              float* c) {
  Split(s.n, kColumnUnit, s.m * s.n * s.k, [&](int64_t begin, int64_t end, int) {
    gradient_.add_product({a, 1, s.m}, {b + begin, s.n}, s.m, end - begin, s.k, factor, c + begin,
                          s.n);
  });
}

void CpuOps::RmsNormBack(const float* x, const float* weight, float eps, const float* dy,
                         int64_t tokens, int64_t width, float* dx) {
  Split(tokens, 1, tokens * width * 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      gradient_.rms_norm_back(x + t * width, weight, eps, dy + t * width, width, dx + t * width);
    }
  });
}

void CpuOps::SiluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                              float* dgate, float* dup) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    gradient_.silu_multiply_back(gate + begin, up + begin, dy + begin, end - begin, dgate + begin,
                                 dup + begin);
  });
}

void CpuOps::GeluMultiplyBack(const float* gate, const float* up, const float* dy, int64_t n,
                              float* dgate, float* dup) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    gradient_.gelu_multiply_back(gate + begin, up + begin, dy + begin, end - begin, dgate + begin,
                                 dup + begin);
  });
}

void CpuOps::SoftCapBack(const float* y, float cap, int64_t n, float* dy) {
  Split(n, 16, n, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float share = y[i] / cap;
      dy[i] *= 1 - share * share;
    }
  });
}

void CpuOps::DropOut(const float* x, int64_t n, const Dropout& dropout, float* y) {
  const auto limit = static_cast<uint64_t>(static_cast<double>(dropout.rate) * 0x1p32);
  const float kept = 1 / (1 - dropout.rate);
  Split(n, 16, n * 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += 2) {
      const uint64_t bits =
          Mix(dropout.key + (static_cast<uint64_t>(i) / 2 + 1) * 0x9E3779B97F4A7C15u);
      y[i] = x[i] * ((bits & 0xFFFFFFFFu) < limit ? 0.0f : kept);
      if (i + 1 < end) y[i + 1] = x[i + 1] * ((bits >> 32) < limit ? 0.0f : kept);
    }
  });
}

void CpuOps::CrossEntropy(float* logits, std::span<const int32_t> targets, int64_t width,
                          float factor, double* losses) {
  const auto tokens = static_cast<int64_t>(targets.size());
  Split(tokens, 1, tokens * width * 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      losses[t] = gradient_.cross_entropy(logits + t * width, width, targets[t], factor);
    }
  });
}

namespace {

// to[i * tokens + t] = x[t * row + i], i < cols.
void TurnRows(const float* x, int64_t row, int64_t tokens, int64_t cols, float* to) {
  constexpr int64_t kTile = 16;
  for (int64_t t0 = 0; t0 < tokens; t0 += kTile) {
    const int64_t t1 = std::min(tokens, t0 + kTile);
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t t = t0; t < t1; ++t) to[i * tokens + t] = x[t * row + i];
    }
  }
}

// What one head of one sequence needs. Rows of q, dout and dq are `q_row` floats apart, those of k
// and v `kv_row`, those of dk and dv, which are this query head's alone, `q_row`.
struct HeadBack {
  const GradientOps& gradient;
  int64_t length, head_dim, q_row, kv_row;
  const ScoreForm& form;
  const float *q, *k, *v, *dout;
  float *dq, *dk, *dv;
  float* scratch;  // Floats(length, head_dim)

  // For a block of queries their weights, derivatives and slopes; keys and values with dimensions
  // as rows.
  static int64_t Floats(int64_t length, int64_t head_dim) {
    return (3 * kQueryBlock + 2 * head_dim) * length;
  }

  void Run() const {
    float* turned = scratch + 3 * kQueryBlock * length;
    TurnRows(k, kv_row, length, head_dim, turned);
    TurnRows(v, kv_row, length, head_dim, turned + head_dim * length);
    for (int64_t i = 0; i < length; i += kQueryBlock) {
      RunBlock(i, std::min(length, i + kQueryBlock), turned, turned + head_dim * length);
    }
  }

  // Queries [begin, end).
  void RunBlock(int64_t begin, int64_t end, const float* turned_keys,
                const float* turned_values) const {
    const int64_t rows = end - begin;
    const int64_t first = FirstSeen(begin), seen = end - first;
    float* weights = scratch;
    float* derivatives = weights + kQueryBlock * length;
    float* slopes = derivatives + kQueryBlock * length;
    const float* keys = k + first * kv_row;
    const float* queries = q + begin * q_row;
    const float* douts = dout + begin * q_row;
    for (int64_t i = 0; i < rows; ++i) {
      std::fill_n(weights + i * length, seen, 0.0f);
      std::fill_n(derivatives + i * length, seen, 0.0f);
    }
    gradient.add_product({queries, q_row}, {turned_keys + first, length}, rows, seen, head_dim,
                         1.0f, weights, length);
    gradient.add_product({douts, q_row}, {turned_values + first, length}, rows, seen, head_dim,
                         1.0f, derivatives, length);
    for (int64_t i = 0; i < rows; ++i) {
      // What this query sees is [skip, limit) of what the block does.
      const int64_t skip = FirstSeen(begin + i) - first, limit = begin + i + 1 - first;
      float* w = weights + i * length;
      float* dw = derivatives + i * length;
      gradient.soften(w + skip, limit - skip, form.scale, form.softcap, slopes);
      gradient.soften_back(w + skip, form.softcap != 0 ? slopes : nullptr, limit - skip, dw + skip);
      for (float* row : {w, dw}) {
        std::fill(row, row + skip, 0.0f);
        std::fill(row + limit, row + seen, 0.0f);
      }
    }
    for (int64_t i = 0; i < rows; ++i) std::fill_n(dq + (begin + i) * q_row, head_dim, 0.0f);
    gradient.add_product({derivatives, length}, {keys, kv_row}, rows, head_dim, seen, form.scale,
                         dq + begin * q_row, q_row);
    gradient.add_product({derivatives, 1, length}, {queries, q_row}, seen, head_dim, rows,
                         form.scale, dk + first * q_row, q_row);
    gradient.add_product({weights, 1, length}, {douts, q_row}, seen, head_dim, rows, 1.0f,
                         dv + first * q_row, q_row);
  }

  int64_t FirstSeen(int64_t position) const {
    return form.window > 0 ? std::max<int64_t>(0, position + 1 - form.window) : 0;
  }
};

}  // namespace

// Each query head has keys and values of its own to add to; those of a group are summed then.
void CpuOps::AttentionBack(std::span<const int64_t> lengths, const AttentionShape& shape,
                           const float* q, const float* k, const float* v, const ScoreForm& form,
                           const float* dout, float* dq, float* dk, float* dv) {
  const int64_t dim = shape.head_dim, q_row = shape.heads * dim, kv_row = shape.kv_heads * dim;
  int64_t tokens = 0, longest = 0;
  std::vector<int64_t> begins;
  for (const int64_t length : lengths) {
    begins.push_back(tokens);
    tokens += length;
    longest = std::max(longest, length);
  }
  head_keys_.assign(static_cast<size_t>(tokens * q_row), 0.0f);
  head_values_.assign(static_cast<size_t>(tokens * q_row), 0.0f);
  ReserveScratch(HeadBack::Floats(longest, dim));
  const int64_t group = shape.heads / shape.kv_heads;
  pool_.For(std::ssize(lengths) * shape.heads, [&](int64_t piece, int thread) {
    const int64_t head = piece % shape.heads;
    const int64_t begin = begins[static_cast<size_t>(piece / shape.heads)];
    const int64_t length = lengths[static_cast<size_t>(piece / shape.heads)];
    const int64_t at = begin * q_row + head * dim, kv_at = begin * kv_row + head / group * dim;
    const HeadBack back{gradient_,
                        length,
                        dim,
                        q_row,
                        kv_row,
                        form,
                        q + at,
                        k + kv_at,
                        v + kv_at,
                        dout + at,
                        dq + at,
                        head_keys_.data() + at,
                        head_values_.data() + at,
                        Scratch(thread)};
    back.Run();
  });
  Split(tokens, 1, tokens * q_row, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (const auto& [from, to] : {std::pair(head_keys_.data(), dk), {head_values_.data(), dv}}) {
        float* row = to + t * kv_row;
        std::fill_n(row, kv_row, 0.0f);
        for (int64_t h = 0; h < shape.heads; ++h) {
          const float* part = from + t * q_row + h * dim;
          for (int64_t i = 0; i < dim; ++i) row[h / group * dim + i] += part[i];
        }
      }
    }
  });
}

namespace {

void StepPiece(const AdamWStep& step, const float* gradients, int64_t n, float* values,
               float* first, float* second) {
  const auto power = static_cast<double>(step.step);
  const auto correction1 = static_cast<float>(1 - std::pow(static_cast<double>(step.beta1), power));
  const auto correction2 =
      static_cast<float>(std::sqrt(1 - std::pow(static_cast<double>(step.beta2), power)));
  const float rate = step.learning_rate / correction1;
  const float kept = 1 - step.learning_rate * step.weight_decay;
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradients[i] * step.gradient_factor;
    first[i] = step.beta1 * first[i] + (1 - step.beta1) * g;
    second[i] = step.beta2 * second[i] + (1 - step.beta2) * g * g;
    values[i] =
        values[i] * kept - rate * first[i] / (std::sqrt(second[i]) / correction2 + step.eps);
  }
}

void Load8(const Moment8& moment, const Levels256& levels, int64_t block, int64_t n, float* to) {
  const uint8_t* codes = moment.codes + block * kMomentBlock;
  for (int64_t i = 0; i < n; ++i) to[i] = levels[codes[i]] * moment.absmax[block];
}

void Store8(const float* from, const Levels256& levels, int64_t block, int64_t n,
            const Moment8& moment) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(from[i]));
  moment.absmax[block] = largest;
  const float share = largest > 0 ? 1 / largest : 0;
  uint8_t* codes = moment.codes + block * kMomentBlock;
  for (int64_t i = 0; i < n; ++i) codes[i] = NearestCode(levels, from[i] * share);
}

}  // namespace

void CpuOps::StepAdamW(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                       float* first, float* second) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    StepPiece(step, gradients + begin, end - begin, values + begin, first + begin, second + begin);
  });
}

void CpuOps::StepAdamW8(const AdamWStep& step, const float* gradients, int64_t n, float* values,
                        const Moment8& first, const Moment8& second) {
  Split(n, kMomentBlock, n * 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; at += kMomentBlock) {
      const int64_t count = std::min(kMomentBlock, end - at), block = at / kMomentBlock;
      float m[kMomentBlock], v[kMomentBlock];
      Load8(first, DynamicLevels(), block, count, m);
      Load8(second, UnsignedDynamicLevels(), block, count, v);
      StepPiece(step, gradients + at, count, values + at, m, v);
      Store8(m, DynamicLevels(), block, count, first);
      Store8(v, UnsignedDynamicLevels(), block, count, second);
    }
  });
}

}  // namespace halftone
