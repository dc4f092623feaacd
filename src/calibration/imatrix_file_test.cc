#include "calibration/imatrix_file.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/testing/byte_builder.h"
#include "tests/testing/damage.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

class ImatrixFileTest : public testing::Test {
 protected:
  ImportanceMatrix Read(std::string_view bytes) const {
    return ReadImportanceMatrix(folder_.Write("m.imatrix", bytes));
  }
  void Refuses(const std::string& part, std::string_view bytes) const {
    SCOPED_TRACE(part);
    const auto path = folder_.Write("m.imatrix", bytes);
    ExpectError(Kind::kFormat, part, [&] { ReadImportanceMatrix(path); });
    ExpectError(Kind::kFormat, path.string(), [&] { ReadImportanceMatrix(path); });
  }

  TempFolder folder_;
};

TEST(ImportanceEntryTest, MeanIsPerMatrixAndOneWithoutData) {
  const ImportanceEntry entry{{2, 4, 6, 8, 10, 12}, {2, 0, 4}};
  EXPECT_EQ(entry.MeanSquare(), (std::vector<float>{1, 2, 1, 1, 2.5f, 3}));
}

ByteBuilder LegacyEntry(ByteBuilder file, const std::string& name, int32_t calls,
                        const std::vector<float>& values) {
  file.Put<int32_t>(static_cast<int32_t>(name.size())).Raw(name).Put<int32_t>(calls);
  file.Put<int32_t>(static_cast<int32_t>(values.size()));
  for (const float v : values) file.Put<float>(v);
  return file;
}

TEST_F(ImatrixFileTest, ReadsTheOlderLayout) {
  ByteBuilder file = ByteBuilder().Put<int32_t>(2);
  file = LegacyEntry(file, "blk.0.w", 4, {8, 2});
  file = LegacyEntry(file, "blk.1.w", 0, {3});
  // Three generations of the tail.
  for (const std::string& tail :
       {std::string(), ByteBuilder().Put<int32_t>(16).bytes(),
        ByteBuilder().Put<int32_t>(16).Put<int32_t>(3).Raw("txt").bytes()}) {
    const ImportanceMatrix matrix = Read(file.bytes() + tail);
    EXPECT_TRUE(matrix.legacy);
    EXPECT_EQ(matrix.entries.at("blk.0.w").MeanSquare(), (std::vector<float>{2, 0.5f}));
    EXPECT_EQ(matrix.entries.at("blk.1.w").MeanSquare(), std::vector<float>{3});
    EXPECT_EQ(matrix.chunk_count, tail.empty() ? 0 : 16);
    EXPECT_EQ(matrix.datasets.size(), tail.size() > 4 ? 1u : 0u);
  }
}

TEST_F(ImatrixFileTest, RefusesBrokenFilesOfTheOlderLayout) {
  const auto begin = [](int32_t entries) { return ByteBuilder().Put<int32_t>(entries); };
  Refuses("needs 4 bytes", "abc");
  Refuses("is no importance matrix", begin(0));
  Refuses("is no importance matrix", begin(-1));
  Refuses("a name has -1 bytes", begin(1).Put<int32_t>(-1).Zeros(64));
  Refuses("a name needs 2147483647 bytes", begin(1).Put<int32_t>(INT32_MAX).Zeros(64));
  Refuses("entry 'w': 0 values", LegacyEntry(begin(1), "w", 1, {}));
  Refuses("entry 'w': -1 values",
          begin(1).Put<int32_t>(1).Raw("w").Put<int32_t>(1).Put<int32_t>(-1).Zeros(64));
  Refuses("the values needs 8589934588 bytes",
          begin(1).Put<int32_t>(1).Raw("w").Put<int32_t>(1).Put<int32_t>(INT32_MAX).Zeros(64));
  Refuses("1 values from -4 calls", LegacyEntry(begin(1), "w", -4, {1}));
  Refuses("occurs twice", LegacyEntry(LegacyEntry(begin(2), "w", 1, {1}), "w", 1, {1}));
  Refuses("a name needs", begin(INT32_MAX).Put<int32_t>(4));
  Refuses("entry 'w': value 1 is nan",
          LegacyEntry(begin(1), "w", 1, {1, std::numeric_limits<float>::quiet_NaN()}));
  Refuses("entry 'w': value 0 is -1", LegacyEntry(begin(1), "w", 1, {-1}));
  Refuses("the data set's name has -5 bytes",
          LegacyEntry(begin(1), "w", 1, {1}).Put<int32_t>(1).Put<int32_t>(-5));
}

// A GGUF file with w.in_sum2 of these extents and types, and w.counts.
ByteBuilder Gguf(std::initializer_list<uint64_t> sums, std::initializer_list<uint64_t> counts,
                 float value, int32_t type = 0) {
  return ByteBuilder()
      .Gguf(2, 0)
      .GgufTensor("w.in_sum2", sums, type, 0)
      .GgufTensor("w.counts", counts, 0, 64)
      .PadTo(32)
      .Put<float>(value)
      .Zeros(60)
      .Put<float>(2)
      .Zeros(60);
}

TEST_F(ImatrixFileTest, ReadsTheGgufLayout) {
  const ImportanceMatrix matrix = Read(Gguf({5, 2}, {1, 2}, 3));
  EXPECT_FALSE(matrix.legacy);
  EXPECT_EQ(matrix.entries.at("w").MeanSquare(),
            (std::vector<float>{1.5f, 0, 0, 0, 0, 1, 1, 1, 1, 1}));
}

TEST_F(ImatrixFileTest, RefusesBrokenFilesOfTheGgufLayout) {
  const auto sums = [](float value) { return Gguf({10}, {1}, value); };
  Read(sums(1));
  Refuses("entry 'w': value 0 is -1", sums(-1));
  Refuses("entry 'w': value 0 is inf", sums(std::numeric_limits<float>::infinity()));
  Refuses("10 sums do not go with 3 counts", Gguf({10}, {3}, 1));
  Refuses("10 sums do not go with 0 counts", Gguf({10}, {0}, 1));
  Refuses("tensor 'w.in_sum2' is F16 instead of F32", Gguf({20}, {1}, 1, 1));
  Refuses("without importances", ByteBuilder().Gguf(0, 0));
  Refuses("1 sums do not go with 0 counts",
          ByteBuilder().Gguf(1, 0).GgufTensor("w.in_sum2", {1}, 0, 0).PadTo(32).Zeros(32));
}

// The older layout has nothing to recognize it by, so any file may end up in its reader.
TEST_F(ImatrixFileTest, SurvivesDamage) {
  ByteBuilder legacy = ByteBuilder().Put<int32_t>(3);
  for (const char* name : {"blk.0.ffn_down.weight", "b", ""}) {
    legacy = LegacyEntry(legacy, name, 2, {1, 2, 3, 4, 5});
  }
  legacy.Put<int32_t>(16).Put<int32_t>(3).Raw("txt");
  const MemoryFile file;
  std::mt19937 random(20261123);
  for (const std::string& whole : {legacy.bytes(), Gguf({5, 2}, {1, 2}, 3).bytes()}) {
    int read = 0;
    for (int run = 0; run < 10000; ++run) {
      std::string bytes = whole;
      Damage(bytes, random);
      const auto path = file.Write(bytes);
      read += !Caught([&] {
        for (const auto& [name, entry] : ReadImportanceMatrix(path).entries) {
          ASSERT_EQ(entry.MeanSquare().size(), entry.sum_squares.size());
        }
      });
    }
    EXPECT_GT(read, 100);
    EXPECT_LT(read, 9900);
  }
}

TEST_F(ImatrixFileTest, MissingFileIsAnIoError) {
  ExpectError(Kind::kIo, "missing.gguf",
              [&] { ReadImportanceMatrix(folder_.path() / "missing.gguf"); });
}

TEST_F(ImatrixFileTest, WritesWhatItRead) {
  ImportanceMatrix matrix;
  matrix.entries["dense"] = {{1, 2, 3}, {8}};
  matrix.entries["experts"] = {{1, 2, 3, 4}, {8, 0}};
  matrix.datasets = {"a.txt", "b.txt"};
  matrix.chunk_count = 5;
  matrix.chunk_size = 512;
  matrix.own.Set("halftone.key", Value(std::string("value")));
  const auto path = folder_.path() / "out.gguf";
  WriteImportanceMatrix(matrix, path);
  const ImportanceMatrix back = ReadImportanceMatrix(path);
  ASSERT_EQ(back.entries.size(), 2u);
  for (const auto& [name, entry] : matrix.entries) {
    EXPECT_EQ(back.entries.at(name).sum_squares, entry.sum_squares);
    EXPECT_EQ(back.entries.at(name).counts, entry.counts);
  }
  EXPECT_EQ(back.datasets, matrix.datasets);
  EXPECT_EQ(back.chunk_count, 5);
  EXPECT_EQ(back.chunk_size, 512);
  ASSERT_EQ(back.own.entries().size(), 1u);
  EXPECT_EQ(*back.own.String("halftone.key"), "value");
  matrix.entries["broken"] = {{1, 2, 3}, {1, 1}};
  ExpectError(Kind::kUsage, "entry 'broken'", [&] { WriteImportanceMatrix(matrix, path); });
}

// llama-imatrix wrote the same statistics in both layouts.
TEST_F(ImatrixFileTest, BothLayoutsOfLlamaImatrixAgree) {
  HALFTONE_NEED_SHARED("fixtures/imatrix");
  const auto folder = SharedPath("fixtures/imatrix");
  const ImportanceMatrix now = ReadImportanceMatrix(folder / "model.imatrix.gguf");
  const ImportanceMatrix legacy = ReadImportanceMatrix(folder / "model.imatrix.dat");
  EXPECT_FALSE(now.legacy);
  EXPECT_TRUE(legacy.legacy);
  EXPECT_EQ(now.entries.size(), 15u);
  ASSERT_EQ(now.entries.size(), legacy.entries.size());
  for (const auto& [name, entry] : now.entries) {
    EXPECT_EQ(entry.MeanSquare(), legacy.entries.at(name).MeanSquare()) << name;
  }
  EXPECT_EQ(now.chunk_count, legacy.chunk_count);
  EXPECT_EQ(now.chunk_size, 128);
  EXPECT_EQ(now.datasets, legacy.datasets);

  // And what is read is written byte for byte as llama-imatrix does.
  const auto path = folder_.path() / "again.gguf";
  WriteImportanceMatrix(now, path);
  EXPECT_TRUE(ReadBytes(path) == ReadBytes(folder / "model.imatrix.gguf"));
}

}  // namespace
}  // namespace halftone
