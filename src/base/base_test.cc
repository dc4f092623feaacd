#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/half.h"
#include "base/mapped_file.h"
#include "base/nearest_name.h"
#include "base/thread_pool.h"
#include "halftone/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/impatient.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

// The value of a binary16 by its definition, in f64.
double F16ByDefinition(uint16_t h) {
  const int exponent = (h >> 10) & 31;
  const int fraction = h & 1023;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) {
    return fraction ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(HalfTest, AllHalvesDecodeByDefinition) {
  for (int h = 0; h < 65536; ++h) {
    const double expected = F16ByDefinition(static_cast<uint16_t>(h));
    const float actual = F16ToF32(static_cast<uint16_t>(h));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << h;
    } else {
      EXPECT_EQ(actual, expected) << h;
    }
  }
}

TEST(HalfTest, RoundsToNearestEven) {
  for (int h = 0; h < 0x7BFF; ++h) {
    const double low = F16ByDefinition(static_cast<uint16_t>(h));
    const double high = F16ByDefinition(static_cast<uint16_t>(h + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one more bit
    const int even = h % 2 == 0 ? h : h + 1;
    EXPECT_EQ(F32ToF16(middle), even) << h;
    EXPECT_EQ(F32ToF16(std::nextafter(middle, 1e9f)), h + 1) << h;
    EXPECT_EQ(F32ToF16(std::nextafter(middle, -1e9f)), h) << h;
  }
  EXPECT_EQ(F32ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(F32ToF16(65519.996f), 0x7BFF);
}

TEST(HalfTest, Bf16RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(F32ToBf16(1.0f), 0x3F80);
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // a tie, to even
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3F818000u)), 0x3F82);
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(CheckedTest, SaysWhenItOverflows) {
  EXPECT_EQ(CheckedMul(1ull << 31, 2), 1ull << 32);
  EXPECT_FALSE(CheckedMul(1ull << 63, 2));
  EXPECT_FALSE(CheckedAdd(UINT64_MAX, 1));
  EXPECT_EQ(CheckedRoundUp(33, 32), 64u);
  EXPECT_FALSE(CheckedRoundUp(UINT64_MAX, 32));
}

TEST(ThreadPoolTest, RunsEachIndexOnceAndRethrows) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<int> hits(257);
      pool.For(257, [&](int64_t i, int thread) {
        ASSERT_LT(thread, threads);
        ++hits[i];
      });
      for (const int h : hits) ASSERT_EQ(h, 1);
    }
    EXPECT_THROW(pool.For(100,
                          [](int64_t i, int) {
                            if (i == 57) throw std::runtime_error("57");
                          }),
                 std::runtime_error);
    int64_t sum = 0;
    pool.For(1, [&](int64_t, int) { sum = 1; });
    EXPECT_EQ(sum, 1);
  }
}

// Workers find the next loop while they look for it, while they sleep, and after one that failed in
// several of its pieces.
TEST(ThreadPoolTest, LoopsFollowOneAnotherAfterFailuresAndSleep) {
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 60; ++repeat) {
    std::vector<int64_t> squares(64);
    const auto square = [&](int64_t i, int) { squares[i] = i * i + repeat; };
    EXPECT_THROW(pool.For(64,
                          [&](int64_t i, int thread) {
                            square(i, thread);
                            if (i % 3 == 0) throw std::out_of_range(std::to_string(i));
                          }),
                 std::out_of_range);
    // Longer than workers look for a loop.
    if (repeat % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    pool.For(64, square);
    for (int64_t i = 0; i < 64; ++i) ASSERT_EQ(squares[i], i * i + repeat);
  }
}

// However long the loop, each thread ends its piece at most. The caller asks before each of its
// own.
TEST(ThreadPoolTest, LeavesALoopThatIsCancelled) {
  for (const int threads : {1, 4}) {
    Impatient impatient(3);
    ThreadPool pool(threads, &impatient);
    constexpr int64_t kLong = int64_t{1} << 40;
    std::atomic<int64_t> own{0};
    ExpectError(Error::Kind::kCancelled, "cancelled",
                [&] { pool.For(kLong, [&](int64_t, int thread) { own += thread == 0; }); });
    EXPECT_EQ(own, 3);
    // Nobody is asked any more, and nothing is left of it.
    pool.Watch(nullptr);
    std::vector<int> hits(100);
    pool.For(100, [&](int64_t i, int) { ++hits[i]; });
    EXPECT_EQ(hits, std::vector<int>(100, 1));
  }
}

class AtomicFileTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::filesystem::path dir_ = folder_.path() / "files";
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  int64_t Files() {
    return std::distance(std::filesystem::directory_iterator(dir_),
                         std::filesystem::directory_iterator());
  }
};

TEST_F(AtomicFileTest, AppearsOnCommitOnly) {
  const auto path = dir_ / "out";
  {
    AtomicFile file(path);
    file.Write("lost");
  }
  EXPECT_EQ(Files(), 0);
  WriteFile(path, "old");
  {
    AtomicFile file(path);
    file.Write("new");
    EXPECT_EQ(ReadTextFile(path), "old");
    file.Commit();
  }
  EXPECT_EQ(ReadTextFile(path), "new");
  EXPECT_EQ(Files(), 1);
}

TEST_F(AtomicFileTest, MissingFolderIsAnError) {
  EXPECT_THROW(AtomicFile(dir_ / "missing" / "out"), Error);
}

TEST(MappedFileTest, MissingFileNamesIt) {
  try {
    MappedFile::Open("/nonexistent/model.gguf");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/nonexistent/model.gguf"), std::string::npos);
    EXPECT_EQ(e.kind(), Error::Kind::kIo);
  }
}

TEST(NearestNameTest, FindsTheTypo) {
  const std::string_view names[] = {"q4_0", "q4_k", "q8_0"};
  EXPECT_EQ(NearestName("q4k", names), "q4_k");
  EXPECT_EQ(NearestName("q8", names), "q8_0");
}

}  // namespace
}  // namespace halftone
