// Files cut anywhere and damaged at random: each must open to a checkpoint whose tensors lie within
// the file, or fail with an Error, quickly and without asking for more memory than the file
// accounts for. Under the sanitizers (HALFTONE_SANITIZE) this also checks every access.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "container/gguf_reader.h"
#include "container/safetensors_file.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/damage.h"
#include "tests/testing/expect_error.h"

namespace {

// The largest single request for memory in this process since it was last reset.
std::atomic<size_t> largest_request{0};

}  // namespace

// All forms, or the sanitizer would see memory of one allocator freed by another; never inlined, or
// the compiler would pair new with free() and warn.
#define HT_ALLOCATOR [[gnu::noinline]]

HT_ALLOCATOR void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  size_t seen = largest_request.load(std::memory_order_relaxed);
  while (bytes > seen && !largest_request.compare_exchange_weak(seen, bytes)) {
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}
HT_ALLOCATOR void* operator new(size_t bytes) {
  if (void* memory = operator new(bytes, std::nothrow)) return memory;
  throw std::bad_alloc();
}
HT_ALLOCATOR void* operator new[](size_t bytes) { return operator new(bytes); }
HT_ALLOCATOR void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return operator new(bytes, std::nothrow);
}
HT_ALLOCATOR void operator delete(void* memory) noexcept { std::free(memory); }
HT_ALLOCATOR void operator delete(void* memory, size_t) noexcept { std::free(memory); }
HT_ALLOCATOR void operator delete[](void* memory) noexcept { std::free(memory); }
HT_ALLOCATOR void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace halftone {
namespace {

// Every kind of field: scalars, strings, arrays, tensors of several shapes and grids.
std::string SmallGguf() {
  const Grid& blocks = *FindGridByGgufType(8);
  ByteBuilder file;
  file.Gguf(3, 6);
  file.Text("general.architecture").U32(8).Text("llama");
  file.Text("general.alignment").U32(4).U32(32);
  file.Text("tokens").U32(9).U32(8).U64(3).Text("a").Text("").Text("\xC4\xA0x");
  file.Text("scores").U32(9).U32(6).U64(2).Put<float>(0.5f).Put<float>(-1);
  file.Text("flag").U32(7).Put<uint8_t>(1);
  file.Text("eps").U32(12).Put<double>(1e-5);
  file.GgufTensor("norm", {5}, 0, 0);
  file.GgufTensor("blk.0.w", {64, 2}, blocks.gguf_type, 32);
  file.GgufTensor("last", {3, 1, 2}, 1, 192).PadTo(32);
  file.Zeros(32).Zeros(160).Zeros(12);
  return file.PadTo(32).bytes();
}

std::string SmallSafetensors() {
  return SafetensorsBytes(
      R"({"__metadata__":{"format":"pt"},)"
      R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b.weight":{"dtype":"BF16","shape":[3],"data_offsets":[16,22],"x":[null,true,-1.5]},)"
      R"("c":{"dtype":"I64","shape":[0,7],"data_offsets":[22,22]},)"
      R"("d":{"dtype":"F8_E4M3","shape":[],"data_offsets":[22,23]}}  )",
      std::string(23, 'd'));
}

// Reads each byte of each tensor's ends; out of the file the sanitizer or the kernel objects.
uint64_t Touch(std::span<const uint8_t> data) {
  return data.empty() ? 0 : data.front() + data.back();
}

void OpenGguf(const std::filesystem::path& path) {
  const Checkpoint checkpoint = ReadGguf(path);
  uint64_t sum = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    ASSERT_EQ(tensor.data.size(), tensor.bytes());
    ASSERT_EQ(tensor.cols() % tensor.grid->block, 0);
    sum += Touch(tensor.data);
  }
  for (const auto& [key, value] : checkpoint.metadata.entries()) sum += ValueText(value).size();
  ASSERT_LT(sum, uint64_t{1} << 32);
}

void OpenSafetensors(const std::filesystem::path& path) {
  uint64_t sum = 0;
  for (const SafetensorsTensor& tensor : ReadSafetensors(path).tensors) {
    uint64_t bits = static_cast<uint64_t>(tensor.dtype->bits);
    for (const int64_t extent : tensor.shape) bits *= static_cast<uint64_t>(extent);
    ASSERT_EQ(tensor.data.size() * 8, bits);
    sum += Touch(tensor.data);
  }
  ASSERT_LT(sum, uint64_t{1} << 32);
}

struct Case {
  const char* name;
  std::string (*bytes)();
  void (*open)(const std::filesystem::path& path);
};

constexpr Case kCases[] = {{"gguf", &SmallGguf, &OpenGguf},
                           {"safetensors", &SmallSafetensors, &OpenSafetensors}};

class HostileFilesTest : public testing::TestWithParam<Case> {
 protected:
  // Whether it opened.
  bool Opens(std::string_view bytes) const {
    const auto path = file_.Write(bytes);
    return !Caught([&] { GetParam().open(path); });
  }

  MemoryFile file_;
};

TEST_P(HostileFilesTest, CutAnywhere) {
  const std::string whole = GetParam().bytes();
  ASSERT_TRUE(Opens(whole));
  // Only the padding behind the last tensor of a GGUF file may be missing: 12 of its 32 bytes
  // count.
  const size_t needed = whole.size() - (GetParam().open == &OpenGguf ? 20 : 0);
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(Opens(std::string_view(whole).substr(0, n)), n >= needed) << n;
  }
}

TEST_P(HostileFilesTest, DamagedAtRandom) {
  constexpr int kRuns = 20000;
  const std::string whole = GetParam().bytes();
  std::mt19937 random(20261123);
  int opened = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int run = 0; run < kRuns; ++run) {
    std::string bytes = whole;
    for (uint32_t i = 0; i <= random() % 3; ++i) Damage(bytes, random);
    largest_request = 0;
    opened += Opens(bytes);
    // Strings in memory are four times as large as the shortest in a file; streams have buffers.
    ASSERT_LE(largest_request, 8 * bytes.size() + (64 << 10)) << "run " << run;
    if (HasFatalFailure()) return;
  }
  // Some damage hits only data, much of it hits the structure.
  EXPECT_GT(opened, kRuns / 100);
  EXPECT_LT(opened, kRuns * 9 / 10);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(2));
  RecordProperty("opened", opened);
}

INSTANTIATE_TEST_SUITE_P(Containers, HostileFilesTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace halftone
