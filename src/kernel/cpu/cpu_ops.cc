#include "kernel/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>

#include "kernel/cpu/aligned.h"

namespace halftone {

CpuOps::CpuOps(int threads, Isa isa, Activations activations, Progress* watched)
    : pool_(threads, watched),
      isa_(isa),
      vector_(VectorOpsFor(isa)),
      attention_(AttentionOpsFor(isa)),
      gradient_(GradientOpsFor(isa)),
      int8_(Int8OpsFor(isa)),
      rounded_(activations == Activations::kInt8 && HasRoundedOps(isa) ? &RoundedOpsFor(isa)
                                                                       : nullptr),
      bf16_(activations == Activations::kBf16 ? FindBf16Ops(isa) : nullptr) {}

void CpuOps::ReserveScratch(int64_t floats) {
  floats = RoundUp(floats, 16);
  if (floats <= scratch_floats_) return;
  scratch_ = AllocateAligned(floats * threads());
  scratch_floats_ = floats;
}

std::shared_ptr<float[]> CpuOps::Allocate(int64_t n) { return AllocateAligned(n); }

void CpuOps::RmsNorm(const float* x, const float* weight, float eps, int64_t tokens, int64_t width,
                     float* y) {
  Split(tokens, 1, tokens * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      vector_.rms_norm(x + t * width, weight, eps, width, y + t * width);
    }
  });
}

const CpuOps::RopeTable& CpuOps::TableFor(const Rotation& rotation,
                                          std::span<const int64_t> positions) {
  const std::span<const float> inverse_frequency = rotation.inverse_frequency;
  RopeTables& known = inverse_frequency.empty() || inverse_frequency[0] >= 0 ? forth_ : back_;
  for (const RopeTable& table : known.tables) {
    if (std::ranges::equal(table.positions, positions) &&
        std::ranges::equal(table.inverse_frequency, inverse_frequency) &&
        table.magnitude == rotation.magnitude) {
      return table;
    }
  }
  RopeTable& table = known.tables[known.oldest];
  known.oldest = (known.oldest + 1) % known.tables.size();
  const auto pairs = static_cast<int64_t>(inverse_frequency.size());
  table.inverse_frequency.assign(inverse_frequency.begin(), inverse_frequency.end());
  table.magnitude = rotation.magnitude;
  table.positions.clear();  // a table that is left half filled is of no positions
  const auto tokens = static_cast<int64_t>(positions.size());
  table.cosines.resize(tokens * pairs);
  table.sines.resize(tokens * pairs);
  // A sine costs as much as dozens of multiply-adds.
  Split(tokens, 1, tokens * pairs * 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < pairs; ++i) {
        const float angle = static_cast<float>(positions[t]) * inverse_frequency[i];
        // The f64 functions of the f32 angle, rounded, are torch's f32 ones within one ulp.
        const auto cosine = static_cast<float>(std::cos(static_cast<double>(angle)));
        const auto sine = static_cast<float>(std::sin(static_cast<double>(angle)));
        table.cosines[t * pairs + i] = cosine * rotation.magnitude;
        table.sines[t * pairs + i] = sine * rotation.magnitude;
      }
    }
  });
  table.positions.assign(positions.begin(), positions.end());
  return table;
}

void CpuOps::Rope(float* x, std::span<const int64_t> positions, int64_t heads, int64_t head_dim,
                  const Rotation& rotation) {
  const RopeTable& table = TableFor(rotation, positions);
  const auto tokens = static_cast<int64_t>(positions.size());
  const auto pairs = static_cast<int64_t>(rotation.inverse_frequency.size());
  const auto rotate = rotation.style == RopeStyle::kInterleaved ? vector_.rotate_interleaved
                                                                : vector_.rotate_halves;
  Split(tokens, 1, tokens * heads * head_dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        rotate(x + (t * heads + h) * head_dim, &table.cosines[t * pairs], &table.sines[t * pairs],
               pairs);
      }
    }
  });
}

void CpuOps::Add(float* x, const float* y, int64_t n) {
  Split(n, 16, n,
        [&](int64_t begin, int64_t end, int) { vector_.add(x + begin, y + begin, end - begin); });
}

void CpuOps::AddBias(float* x, const float* bias, int64_t tokens, int64_t width) {
  Split(tokens, 1, tokens * width, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) vector_.add(x + t * width, bias, width);
  });
}

const float* CpuOps::Turn(const float* x, int64_t tokens, int64_t cols,
                          std::vector<float>& turned) {
  constexpr int64_t kTile = 16;
  turned.resize(static_cast<size_t>(tokens * cols));
  Split(cols, kTile, tokens * cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t0 = 0; t0 < tokens; t0 += kTile) {
      const int64_t t1 = std::min(tokens, t0 + kTile);
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t t = t0; t < t1; ++t) turned[i * tokens + t] = x[t * cols + i];
      }
    }
  });
  return turned.data();
}

void CpuOps::AddOuterProducts(const float* a, const float* b, int64_t tokens, int64_t cols,
                              double* sum) {
  // Tiles of the result; with columns as rows each is a product like any other.
  constexpr int64_t kTile = 96;
  const float* left = Turn(a, tokens, cols, turned_left_);
  const float* right = a == b ? left : Turn(b, tokens, cols, turned_right_);
  ReserveScratch(kTile * kTile);
  const int64_t tiles = (cols + kTile - 1) / kTile;
  pool_.For(tiles * tiles, [&](int64_t tile, int thread) {
    const int64_t i0 = tile / tiles * kTile, j0 = tile % tiles * kTile;
    if (a == b && j0 > i0) return;
    const int64_t height = std::min(kTile, cols - i0), width = std::min(kTile, cols - j0);
    float* product = Scratch(thread);
    vector_.dot_panel(right + j0 * tokens, tokens, width, left + i0 * tokens, tokens, height,
                      tokens, product, width);
    for (int64_t i = 0; i < height; ++i) {
      double* row = sum + (i0 + i) * cols + j0;
      for (int64_t j = 0; j < width; ++j) row[j] += product[i * width + j];
    }
  });
}

void CpuOps::SiluMultiply(float* gate, const float* up, int64_t n) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    vector_.silu_multiply(gate + begin, up + begin, end - begin);
  });
}

void CpuOps::GeluMultiply(float* gate, const float* up, int64_t n) {
  Split(n, 16, n * 8, [&](int64_t begin, int64_t end, int) {
    vector_.gelu_multiply(gate + begin, up + begin, end - begin);
  });
}

void CpuOps::Scale(float* x, float factor, int64_t n) {
  Split(n, 16, n, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) x[i] *= factor;
  });
}

void CpuOps::SoftCap(float* x, float cap, int64_t n) {
  Split(n, 16, n * 8,
        [&](int64_t begin, int64_t end, int) { vector_.soft_cap(x + begin, cap, end - begin); });
}

std::unique_ptr<Ops> MakeCpuOps(int threads, Activations activations, Progress* watched) {
  return std::make_unique<CpuOps>(threads, ChooseIsa(), activations, watched);
}

}  // namespace halftone
