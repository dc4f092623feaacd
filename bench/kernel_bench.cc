// What the CPU kernels reach, beside what the machine can do: read bandwidth for one token at a
// time, multiply-adds for a prompt.
//
//   kernel_bench --benchmark_filter=Read/        memory read bandwidth (read_bench.cc)
//   kernel_bench --benchmark_filter=MultiplyAdd  f32 multiply-add peak
//   kernel_bench --benchmark_filter=MatVec       every grid, one token: GB/s of weights
//   kernel_bench --benchmark_filter=MatMul       every grid, 512 tokens: GFLOP/s
//   kernel_bench --benchmark_filter=Model        a whole model's shapes: tokens/s
//
// HALFTONE_THREADS sets the threads (default: one for each processor), HALFTONE_ISA the
// instructions, HALFTONE_ACTIVATIONS=int8 rounds activations.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bench/read_bench.h"
#include "grid/grid.h"
#include "kernel/ops.h"
#include "tensor/tensor.h"

namespace halftone {
namespace {

int Threads() {
  const char* variable = std::getenv("HALFTONE_THREADS");
  return variable != nullptr ? std::atoi(variable) : 0;
}

Activations WhichActivations() {
  const char* variable = std::getenv("HALFTONE_ACTIVATIONS");
  return variable != nullptr && std::string(variable) == "int8" ? Activations::kInt8
                                                                : Activations::kF32;
}

// One encoded row, repeated: encoding is slow and the kernels' speed does not depend on the values.
Tensor Weights(const Grid& grid, int64_t rows, int64_t cols) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  const size_t row_bytes = grid.RowBytes(cols);
  std::vector<uint8_t> row(row_bytes);
  if (grid.writable()) {
    std::vector<float> values(cols), importance(cols, 1.0f);
    for (float& v : values) v = normal(engine);
    grid.Encode(values.data(), cols, importance.data(), row.data());
  }
  std::vector<uint8_t> bytes(rows * row_bytes);
  for (int64_t r = 0; r < rows; ++r) std::ranges::copy(row, bytes.begin() + r * row_bytes);
  return MakeTensor("w", grid, {rows, cols}, std::move(bytes));
}

std::shared_ptr<float[]> RandomFloats(Ops& ops, int64_t n) {
  auto values = ops.Allocate(n);
  std::mt19937 engine(2);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < n; ++i) values[i] = normal(engine);
  return values;
}

void SetRate(benchmark::State& state, const char* name, double each) {
  state.counters[name] = benchmark::Counter(each * static_cast<double>(state.iterations()) / 1e9,
                                            benchmark::Counter::kIsRate);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float MultiplyAdds(int64_t steps) {
  typedef float V __attribute__((vector_size(64)));
  V a = {}, b = {}, c = {}, e = {}, f = {}, g = {}, h = {}, i = {}, j = {}, k = {}, factor = {1.5f};
  for (int64_t step = 0; step < steps; ++step) {
    // Ten sums: the instruction takes four cycles and two start in each.
    asm volatile(
        "vfmadd231ps %10, %10, %0\n\tvfmadd231ps %10, %10, %1\n\t"
        "vfmadd231ps %10, %10, %2\n\tvfmadd231ps %10, %10, %3\n\t"
        "vfmadd231ps %10, %10, %4\n\tvfmadd231ps %10, %10, %5\n\t"
        "vfmadd231ps %10, %10, %6\n\tvfmadd231ps %10, %10, %7\n\t"
        "vfmadd231ps %10, %10, %8\n\tvfmadd231ps %10, %10, %9"
        : "+v"(a), "+v"(b), "+v"(c), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j), "+v"(k)
        : "v"(factor));
  }
  factor += a + b + c + e + f + g + h + i + j + k;
  return factor[0];
}

void MultiplyAdd(benchmark::State& state) {
  if (!__builtin_cpu_supports("avx512f")) {
    state.SkipWithError("needs AVX-512");
    return;
  }
  constexpr int64_t kSteps = 100000;
  ThreadPool pool(Threads());
  for (auto _ : state) {
    pool.For(pool.threads(), [](int64_t, int) { benchmark::DoNotOptimize(MultiplyAdds(kSteps)); });
  }
  SetRate(state, "GFLOP/s", 2.0 * 16 * 10 * kSteps * pool.threads());
}
BENCHMARK(MultiplyAdd)->UseRealTime();
#endif

void HandOff(benchmark::State& state) {
  ThreadPool pool(Threads());
  for (auto _ : state) pool.For(pool.threads(), [](int64_t, int) {});
}
BENCHMARK(HandOff)->UseRealTime();

// `total` bytes of weights in matrices of one shape, used in turn so that no cache near the core
// holds them. With a threshold: by LLM.int8(), one in a hundred values beyond 2.58.
void Product(benchmark::State& state, const Grid* grid, int64_t rows, int64_t cols, int64_t tokens,
             std::optional<float> threshold) {
  const auto ops = MakeCpuOps(Threads(), WhichActivations());
  const Tensor one = Weights(*grid, rows, cols);
  const int64_t count =
      tokens > 4 ? 1 : std::max<int64_t>(1, (96 << 20) / static_cast<int64_t>(one.bytes()));
  std::vector<std::unique_ptr<Matrix>> matrices;
  for (int64_t i = 0; i < count; ++i) {
    const Tensor weights = Weights(*grid, rows, cols);
    matrices.push_back(threshold ? ops->PrepareInt8(weights, *threshold) : ops->Prepare(weights));
  }
  const auto x = RandomFloats(*ops, tokens * cols);
  const auto y = ops->Allocate(tokens * rows);
  size_t next = 0;
  for (auto _ : state) {
    ops->MatMul(*matrices[next], x.get(), tokens, y.get());
    next = (next + 1) % matrices.size();
  }
  SetRate(state, "GB/s", static_cast<double>(one.bytes()));
  SetRate(state, "GFLOP/s", 2.0 * static_cast<double>(rows * cols * tokens));
}

struct ModelShape {
  const char* name;
  int64_t width, hidden, layers, heads, kv_heads, vocabulary;
  const char* grid;
  const char* output_grid;
};

constexpr ModelShape kModels[] = {
    {"SmolLM2-135M-q4_1", 576, 1536, 30, 9, 3, 49152, "q4_1", "q8_0"},
    {"ref-75m-q4_k", 512, 1536, 16, 8, 4, 49152, "q4_k", "q6_k"},
    {"ref-75m-bf16", 512, 1536, 16, 8, 4, 49152, "bf16", "bf16"},
};

// The operations of a llama forward in their order, with all of a model's weights.
class Model {
 public:
  Model(Ops& ops, const ModelShape& shape, int64_t context) : ops_(ops), shape_(shape) {
    const Grid& grid = GridNamed(shape.grid);
    const int64_t kv = shape.kv_heads * 64, q = shape.heads * 64;
    for (int64_t i = 0; i < shape.layers; ++i) {
      layers_.push_back({Use(grid, q, shape.width), Use(grid, kv, shape.width),
                         Use(grid, kv, shape.width), Use(grid, shape.width, q),
                         Use(grid, shape.hidden, shape.width), Use(grid, shape.hidden, shape.width),
                         Use(grid, shape.width, shape.hidden)});
    }
    output_ = Use(GridNamed(shape.output_grid), shape.vocabulary, shape.width);
    cache_ =
        ops.MakeCache({shape.heads, shape.kv_heads, 64, shape.layers, context}, GridNamed("f16"));
    norm_ = RandomFloats(ops, shape.width);
    for (int i = 0; i < 32; ++i) frequency_.push_back(std::pow(1e4f, -static_cast<float>(i) / 32));
    const int64_t widest = std::max({shape.width, shape.hidden, q});
    for (auto& buffer : buffers_) buffer = ops.Allocate(context * widest);
    logits_ = ops.Allocate(shape.vocabulary);
    ids_.resize(context);
    positions_.resize(context);
    std::iota(positions_.begin(), positions_.end(), 0);
    for (int64_t t = 0; t < context; ++t)
      ids_[t] = static_cast<int32_t>(t * 7919 % shape.vocabulary);
  }

  int64_t bytes() const { return bytes_; }
  double multiply_adds() const { return multiply_adds_; }

  void Forward(int64_t position, int64_t tokens) {
    const auto& s = shape_;
    float *x = buffers_[0].get(), *n = buffers_[1].get(), *q = buffers_[2].get(),
          *k = buffers_[3].get(), *v = buffers_[4].get(), *a = buffers_[5].get();
    ops_.EmbedRows(*output_, std::span(ids_).subspan(position, tokens), x);
    for (int64_t i = 0; i < s.layers; ++i) {
      const Layer& w = layers_[i];
      ops_.RmsNorm(x, norm_.get(), 1e-5f, tokens, s.width, n);
      ops_.MatMul(*w.q, n, tokens, q);
      ops_.MatMul(*w.k, n, tokens, k);
      ops_.MatMul(*w.v, n, tokens, v);
      const auto positions = std::span(positions_).subspan(position, tokens);
      ops_.Rope(q, positions, s.heads, 64, {RopeStyle::kInterleaved, frequency_});
      ops_.Rope(k, positions, s.kv_heads, 64, {RopeStyle::kInterleaved, frequency_});
      const TokenRun run{cache_.get(), position, tokens};
      ops_.Attention({&run, 1}, i, q, k, v, {0.125f}, a);
      ops_.MatMul(*w.o, a, tokens, n);
      ops_.Add(x, n, tokens * s.width);
      ops_.RmsNorm(x, norm_.get(), 1e-5f, tokens, s.width, n);
      ops_.MatMul(*w.gate, n, tokens, q);
      ops_.MatMul(*w.up, n, tokens, k);
      ops_.SiluMultiply(q, k, tokens * s.hidden);
      ops_.MatMul(*w.down, q, tokens, n);
      ops_.Add(x, n, tokens * s.width);
    }
    ops_.RmsNorm(x + (tokens - 1) * s.width, norm_.get(), 1e-5f, 1, s.width, n);
    ops_.MatMul(*output_, n, 1, logits_.get());
  }

 private:
  struct Layer {
    std::shared_ptr<Matrix> q, k, v, o, gate, up, down;
  };

  std::shared_ptr<Matrix> Use(const Grid& grid, int64_t rows, int64_t cols) {
    const Tensor tensor = Weights(grid, rows, cols);
    bytes_ += static_cast<int64_t>(tensor.bytes());
    multiply_adds_ += static_cast<double>(rows * cols);
    return ops_.Prepare(tensor);
  }

  Ops& ops_;
  ModelShape shape_;
  std::vector<Layer> layers_;
  std::shared_ptr<Matrix> output_;
  std::unique_ptr<KvCache> cache_;
  std::vector<float> frequency_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> positions_;
  std::shared_ptr<float[]> norm_, logits_, buffers_[6];
  int64_t bytes_ = 0;
  double multiply_adds_ = 0;
};

void Generate(benchmark::State& state, const ModelShape& shape) {
  const auto ops = MakeCpuOps(Threads(), WhichActivations());
  Model model(*ops, shape, 64);
  for (auto _ : state) {
    for (int64_t t = 0; t < 64; ++t) model.Forward(t, 1);
  }
  state.counters["tokens/s"] = benchmark::Counter(64.0 * static_cast<double>(state.iterations()),
                                                  benchmark::Counter::kIsRate);
  SetRate(state, "GB/s", 64.0 * static_cast<double>(model.bytes()));
}

void Prompt(benchmark::State& state, const ModelShape& shape) {
  const auto ops = MakeCpuOps(Threads(), WhichActivations());
  Model model(*ops, shape, 512);
  for (auto _ : state) model.Forward(0, 512);
  state.counters["tokens/s"] = benchmark::Counter(512.0 * static_cast<double>(state.iterations()),
                                                  benchmark::Counter::kIsRate);
  const double output = static_cast<double>(shape.vocabulary * shape.width);
  SetRate(state, "GFLOP/s", 2 * (512 * (model.multiply_adds() - output) + output));
}

void RegisterInt8() {
  for (const int64_t cols : {512, 4096}) {
    for (const int64_t tokens : {1, 16, 512}) {
      const Grid* grid = FindGrid("int8:row:absmax", cols);
      const auto add = [&](const char* way, std::optional<float> threshold) {
        const std::string name = std::string("Int8/") + way + "/" + std::to_string(cols) + "/";
        benchmark::RegisterBenchmark((name + std::to_string(tokens)).c_str(), Product, grid, 1536,
                                     cols, tokens, threshold)
            ->UseRealTime();
      };
      add("f32", std::nullopt);
      add("all", 0.0f);
      add("outliers", 2.58f);
    }
  }
}

void RegisterAll() {
  RegisterInt8();
  for (const Grid* grid : AllGrids()) {
    const int64_t cols = grid->block > 64 ? 512 : 576;
    const std::string name(grid->name);
    benchmark::RegisterBenchmark(("MatVec/" + name).c_str(), Product, grid, 1536, cols, 1,
                                 std::nullopt)
        ->UseRealTime();
    for (const int64_t tokens : {4, 16, 512}) {
      benchmark::RegisterBenchmark(("MatMul/" + name + "/" + std::to_string(tokens)).c_str(),
                                   Product, grid, 1536, cols, tokens, std::nullopt)
          ->UseRealTime();
    }
  }
  for (const ModelShape& shape : kModels) {
    if (FindGrid(shape.grid) == nullptr || FindGrid(shape.output_grid) == nullptr) continue;
    benchmark::RegisterBenchmark((std::string("Model/") + shape.name + "/generate").c_str(),
                                 Generate, shape)
        ->UseRealTime();
    benchmark::RegisterBenchmark((std::string("Model/") + shape.name + "/prompt").c_str(), Prompt,
                                 shape)
        ->UseRealTime();
  }
}

}  // namespace
}  // namespace halftone

int main(int argc, char** argv) {
  halftone::RegisterReads();
  halftone::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
