// Generating tokens allocates nothing. This binary's operator new counts its calls; memory that the
// engine takes from the system otherwise (aligned buffers) comes in a shared_ptr, whose own record
// is counted. LLM.int8() is not among the models: its list of large activations grows to the most
// that a token had so far.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "container/container.h"
#include "engine/batch.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "tests/testing/shared.h"

namespace {

std::atomic<int64_t> g_calls{0};

constexpr size_t kUsual = alignof(std::max_align_t);

// Null where there is no memory.
void* TryCount(size_t size, size_t alignment) noexcept {
  ++g_calls;
  void* memory = nullptr;
  return posix_memalign(&memory, std::max(alignment, sizeof(void*)), size) == 0 ? memory : nullptr;
}

void* Count(size_t size, size_t alignment) {
  void* memory = TryCount(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Not inlined: the compiler would see the memory of `new` go to `free`, and warn.
[[gnu::noinline]] void Free(void* memory) { std::free(memory); }

}  // namespace

// All of them: a sanitizer's own would take what these free for a mismatch.

void* operator new(size_t size) { return Count(size, kUsual); }
void* operator new[](size_t size) { return Count(size, kUsual); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return TryCount(size, kUsual); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return TryCount(size, kUsual); }
void* operator new(size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return TryCount(size, static_cast<size_t>(a));
}
void* operator new[](size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return TryCount(size, static_cast<size_t>(a));
}
void* operator new(size_t size, std::align_val_t a) { return Count(size, static_cast<size_t>(a)); }
void* operator new[](size_t size, std::align_val_t a) {
  return Count(size, static_cast<size_t>(a));
}
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { Free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { Free(memory); }

namespace halftone {
namespace {

constexpr int kTokens = 32;

// How often `work` calls operator new, on whatever thread.
template <class Work>
int64_t CallsIn(const Work& work) {
  const int64_t before = g_calls;
  work();
  return g_calls - before;
}

TEST(AllocationTest, IsCounted) {
  EXPECT_EQ(CallsIn([] {}), 0);
  EXPECT_EQ(CallsIn([] { std::vector<int>(100).at(7) = 1; }), 1);
  EXPECT_GT(CallsIn([] { MakeCpuOps(2)->Allocate(1000); }), 1);
}

class TokenLoop : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string fixture = GetParam();
    HALFTONE_NEED_SHARED(fixture);
    std::filesystem::path path = SharedPath(fixture);
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".gguf") path = entry.path();
    }
    model_ = std::make_shared<const LoadedModel>(OpenCheckpoint(path),
                                                 std::shared_ptr<Ops>(MakeCpuOps(3)));
    logits_.resize(8 * model_->weights.parameters.vocabulary);
  }

  std::span<float> Row(int64_t i) {
    const int64_t vocabulary = model_->weights.parameters.vocabulary;
    return std::span(logits_).subspan(i * vocabulary, vocabulary);
  }

  std::shared_ptr<const LoadedModel> model_;
  std::vector<float> logits_;
};

TEST_P(TokenLoop, OfASessionAllocatesNothing) {
  for (const Grid* grid : CacheGrids()) {
    Session session(model_, 2 * kTokens, *grid);
    Sampler sampler({.temperature = 0.8f, .seed = 5});
    int32_t token = 1;
    const auto generate = [&](int count) {
      for (int i = 0; i < count; ++i) {
        session.Append(std::span(&token, 1), 1, logits_.data());
        token = sampler.Next(Row(0));
      }
    };
    generate(2);  // buffers grow to their size
    EXPECT_EQ(CallsIn([&] { generate(kTokens); }), 0) << grid->name;
  }
}

TEST_P(TokenLoop, OfABatchAllocatesNothing) {
  for (const Grid* grid : CacheGrids()) {
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<Sampler> samplers;
    int32_t tokens[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<Batch::Part> parts;
    for (uint64_t i = 0; i < 8; ++i) {
      sessions.push_back(std::make_unique<Session>(model_, 2 * kTokens, *grid));
      samplers.emplace_back(SamplingOptions{.seed = i});
      parts.push_back({sessions[i].get(), std::span(&tokens[i], 1)});
    }
    Batch batch(model_, 8);
    // Sequences come and go: between steps there are eight, five or one.
    const auto generate = [&](int count) {
      for (int step = 0; step < count; ++step) {
        const size_t present = step % 3 == 0 ? 8 : step % 3 == 1 ? 5 : 1;
        batch.Step(std::span(parts).first(present), logits_.data());
        for (size_t i = 0; i < present; ++i) {
          tokens[i] = samplers[i].Next(Row(static_cast<int64_t>(i)));
        }
      }
    };
    generate(6);  // each size twice, once for each table of angles
    EXPECT_EQ(CallsIn([&] { generate(kTokens); }), 0) << grid->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TokenLoop,
                         testing::Values("models/tiny1m", "fixtures/tiny-gguf-Q4_K_M-imatrix",
                                         "fixtures/tiny-gptq-4bit-g128-actorder"));

}  // namespace
}  // namespace halftone
