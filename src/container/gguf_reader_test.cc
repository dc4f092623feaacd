#include "container/gguf_reader.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "container/container.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

// One u8 key and one f32 tensor [2, 3], whose entry and data the callers vary.
ByteBuilder OneKey(uint64_t tensors) {
  return ByteBuilder().Gguf(tensors, 1).Text("k").U32(0).Put<uint8_t>(7);
}

class GgufReaderTest : public testing::Test {
 protected:
  Checkpoint Read(std::string_view bytes) const {
    return ReadGguf(folder_.Write("model.gguf", bytes));
  }

  void Refuses(Kind kind, const std::string& part, std::string_view bytes) const {
    const auto path = folder_.Write("model.gguf", bytes);
    SCOPED_TRACE(part);
    const auto start = std::chrono::steady_clock::now();
    ExpectError(kind, part, [&] { ReadGguf(path); });
    ExpectError(kind, path.string(), [&] { ReadGguf(path); });
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  }

  TempFolder folder_;
};

TEST_F(GgufReaderTest, ReadsKeysAndTensors) {
  ByteBuilder file = OneKey(2);
  file.GgufTensor("a", {3, 2}, 0, 0).GgufTensor("b", {}, 0, 32).PadTo(32);
  for (int i = 0; i < 6; ++i) file.Put<float>(static_cast<float>(i) / 4);
  file.PadTo(32).Put<float>(-1.5f).PadTo(32);
  const Checkpoint checkpoint = Read(file);
  EXPECT_EQ(checkpoint.container, "gguf");
  EXPECT_EQ(checkpoint.file_bytes, file.size());
  EXPECT_EQ(checkpoint.metadata.Int("k"), 7);
  ASSERT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(checkpoint.tensors[0].name, "a");
  EXPECT_EQ(checkpoint.tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(Decode(checkpoint.tensors[0]), (std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f}));
  EXPECT_TRUE(checkpoint.tensors[1].shape.empty());
  EXPECT_EQ(Decode(checkpoint.tensors[1]), std::vector<float>{-1.5f});
}

TEST_F(GgufReaderTest, ReadsEveryTypeOfValue) {
  ByteBuilder file;
  file.Gguf(0, 14);
  file.Text("u8").U32(0).Put<uint8_t>(200);
  file.Text("i8").U32(1).Put<int8_t>(-3);
  file.Text("u16").U32(2).Put<uint16_t>(60000);
  file.Text("i16").U32(3).Put<int16_t>(-300);
  file.Text("u32").U32(4).U32(4000000000u);
  file.Text("i32").U32(5).Put<int32_t>(-70000);
  file.Text("f32").U32(6).Put<float>(0.5f);
  file.Text("bool").U32(7).Put<uint8_t>(2);
  file.Text("string").U32(8).Text("h\xC3\xA9");
  file.Text("u64").U32(10).U64(1ull << 63);
  file.Text("i64").U32(11).Put<int64_t>(-5);
  file.Text("f64").U32(12).Put<double>(0.1);
  file.Text("strings").U32(9).U32(8).U64(2).Text("a").Text("");
  file.Text("i16s").U32(9).U32(3).U64(2).Put<int16_t>(-1).Put<int16_t>(1);
  const Metadata metadata = Read(file).metadata;
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"u8", "200"},           {"i8", "-3"},
      {"u16", "60000"},        {"i16", "-300"},
      {"u32", "4000000000"},   {"i32", "-70000"},
      {"f32", "0.5"},          {"bool", "true"},
      {"string", "h\xC3\xA9"}, {"u64", "9223372036854775808"},
      {"i64", "-5"},           {"f64", "0.1"},
      {"strings", "[a, ]"},    {"i16s", "[-1, 1]"}};
  ASSERT_EQ(metadata.entries().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto& [key, value] = metadata.entries()[i];
    EXPECT_EQ(key, expected[i].first);
    EXPECT_EQ(ValueText(value), expected[i].second);
    // The first twelve keys are the names of their types.
    if (i < 12) {
      EXPECT_EQ(TypeName(value), key);
    }
  }
}

// Where this reader decides otherwise than ggml with its data, and why.
const std::map<std::string, std::string> kDeviations = {
    {"data-last-pad-missing",
     "only padding is missing; llama.cpp's model loader and gguf-py read such files"},
};

TEST_F(GgufReaderTest, AgreesWithGgmlOnEdgeCases) {
  HALFTONE_NEED_SHARED("fixtures/gguf-edge/verdicts.json");
  const auto folder = SharedPath("fixtures/gguf-edge");
  const Json verdicts = ParseJson(ReadTextFile(folder / "verdicts.json"), "verdicts.json");
  int accepted = 0, refused = 0;
  for (const auto& [name, verdict] : verdicts["cases"].items()) {
    SCOPED_TRACE(name);
    const auto path = folder / (name + ".gguf");
    const bool deviates = kDeviations.contains(name);
    const std::string peer = verdict[deviates ? "ggml_meta_only" : "ggml_with_data"];
    Checkpoint checkpoint;
    const auto error = Caught([&] { checkpoint = ReadGguf(path); });
    EXPECT_EQ(error ? "REJECT" : peer.substr(0, 6), peer.substr(0, 6))
        << (error ? error->what() : "accepted");
    ++(error ? refused : accepted);
    if (error) {
      EXPECT_NE(std::string(error->what()).find(path.string()), std::string::npos);
      continue;
    }
    // "ACCEPT tensors keys data_offset".
    std::istringstream numbers(peer.substr(6));
    size_t tensors = 0, keys = 0;
    std::ptrdiff_t data = 0;
    numbers >> tensors >> keys >> data;
    EXPECT_EQ(checkpoint.tensors.size(), tensors);
    EXPECT_EQ(checkpoint.metadata.entries().size(), keys);
    if (tensors > 0 && !checkpoint.tensors[0].data.empty()) {
      const Tensor& first = checkpoint.tensors[0];
      const auto* mapped = static_cast<const MappedFile*>(first.owner.get());
      EXPECT_EQ(first.data.data() - mapped->bytes().data(), data);
    }
  }
  EXPECT_EQ(accepted + refused, 39);
}

TEST_F(GgufReaderTest, RefusesBrokenHeaders) {
  Refuses(Kind::kFormat, "is empty", "");
  Refuses(Kind::kFormat, "does not begin with", "GGU");
  Refuses(Kind::kFormat, "Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00");
  Refuses(Kind::kFormat, "version 0", ByteBuilder().Gguf(0, 0, 0));
  Refuses(Kind::kUnsupported, "version 1", ByteBuilder().Gguf(0, 0, 1));
  Refuses(Kind::kUnsupported, "version 4", ByteBuilder().Gguf(0, 0, 4));
  Refuses(Kind::kUnsupported, "big-endian", ByteBuilder().Gguf(0, 0, 3u << 24));
  // Counts that would wrap when multiplied by any size of an entry, negative ones among them.
  for (const uint64_t count : {~0ull, 1ull << 63, 1ull << 61, 1ull << 60, 1ull << 32}) {
    Refuses(Kind::kFormat, "byte 8: claims", ByteBuilder().Gguf(count, 0).Zeros(128));
    Refuses(Kind::kFormat, "byte 16: claims", ByteBuilder().Gguf(0, count).Zeros(128));
  }
  // 43 bytes that keep a reader busy which believes the count and reads nothing past the end.
  Refuses(Kind::kFormat, "byte 16: claims", ByteBuilder().Gguf(0, 1ull << 60).Zeros(19));
}

TEST_F(GgufReaderTest, RefusesBrokenKeys) {
  const auto key = [](uint32_t type) { return ByteBuilder().Gguf(0, 1).Text("k").U32(type); };
  for (const uint64_t length : {~0ull, ~0ull - 7, 1ull << 63, (1ull << 30) + 1, 100ull}) {
    Refuses(Kind::kFormat, "byte 24: a key claims", ByteBuilder().Gguf(0, 1).U64(length).Zeros(16));
    Refuses(Kind::kFormat, "key 'k': the string claims", key(8).U64(length).Zeros(16));
    Refuses(Kind::kFormat, "key 'k': a string claims", key(9).U32(8).U64(1).U64(length).Zeros(8));
  }
  Refuses(Kind::kFormat, "key 0 is empty", ByteBuilder().Gguf(0, 1).Text("").U32(0).Zeros(8));
  Refuses(Kind::kFormat, "byte 38: key 'k': occurs twice",
          ByteBuilder().Gguf(0, 2).Text("k").U32(0).Put<uint8_t>(1).Text("k").U32(0).Zeros(8));
  Refuses(Kind::kFormat, "unknown value type 13", key(13).Zeros(8));
  Refuses(Kind::kFormat, "unknown value type 4294967295", key(~0u).Zeros(8));
  Refuses(Kind::kFormat, "unknown element type 13", key(9).U32(13).U64(1).Zeros(8));
  Refuses(Kind::kFormat, "unknown element type", key(9).U32(~0u).U64(0));
  Refuses(Kind::kFormat, "arrays of arrays", key(9).U32(9).U64(1).U32(0).U64(1).Zeros(8));
  Refuses(Kind::kFormat, "arrays of arrays", key(9).U32(9).U64(0));
  // count * size wraps to few bytes, or is a GiB in a file of a hundred bytes.
  for (const uint64_t count : {~0ull, (1ull << 61) + 1, (1ull << 62) + 1, 1ull << 30, 33ull}) {
    for (const uint32_t type : {0u, 4u, 7u, 8u, 10u, 12u}) {
      Refuses(Kind::kFormat, "the array claims", key(9).U32(type).U64(count).Zeros(32));
    }
  }
  // Control characters of a key never reach a terminal.
  Refuses(Kind::kFormat, "key '\\x1B[2J\\x0A'",
          ByteBuilder().Gguf(0, 1).Text("\x1B[2J\n").U32(99).Zeros(8));
}

TEST_F(GgufReaderTest, RefusesBrokenAlignment) {
  const auto with = [](uint32_t type, uint64_t value) {
    ByteBuilder file;
    file.Gguf(1, 1).Text("general.alignment").U32(type).U64(value);
    if (type == 4) file = ByteBuilder().Raw(file.bytes().substr(0, file.size() - 4));
    return file.GgufTensor("a", {1}, 0, 0).PadTo(32).Zeros(32);
  };
  Read(with(4, 8));
  Refuses(Kind::kFormat, "0 is not a power of two", with(4, 0));
  Refuses(Kind::kFormat, "48 is not a power of two", with(4, 48));
  Refuses(Kind::kFormat, "must be a u32 but is a u64", with(10, 32));
  Refuses(Kind::kFormat, "pass the end of the file", with(4, 1u << 31));
}

TEST_F(GgufReaderTest, RefusesBrokenTensors) {
  const auto entry = [](std::initializer_list<uint64_t> extents, int32_t type = 0,
                        uint64_t offset = 0) {
    return OneKey(1).GgufTensor("w", extents, type, offset).PadTo(32).Zeros(64);
  };
  Read(entry({16}));
  Refuses(Kind::kFormat, "byte 38: tensor", OneKey(1).Text(std::string(64, 'n')).Zeros(64));
  Refuses(Kind::kFormat, "a tensor's name claims", OneKey(1).U64(~0ull - 7).Zeros(64));
  Refuses(Kind::kFormat, "has 5 dimensions", entry({1, 1, 1, 1, 1}));
  Refuses(Kind::kFormat, "has 4294967295 dimensions", OneKey(1).Text("w").U32(~0u).Zeros(64));
  // Products and sizes that overflow i64, u64 or only after padding.
  Refuses(Kind::kFormat, "tensor 'w': dimension 0", entry({1ull << 63}));
  Refuses(Kind::kFormat, "tensor 'w': dimension 1", entry({1ull << 32, 1ull << 32}));
  Refuses(Kind::kFormat, "tensor 'w': dimension 3",
          entry({1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16}));
  Refuses(Kind::kFormat, "dimension 2", entry({0, 1ull << 40, 1ull << 40}));
  Refuses(Kind::kFormat, "the size in bytes overflows", entry({INT64_MAX}));
  Refuses(Kind::kFormat, "the size in bytes overflows", entry({1ull << 62}));
  Refuses(Kind::kFormat, "pass the end of the file", entry({(1ull << 62) - 1}));
  Refuses(Kind::kFormat, "pass the end of the file", entry({1ull << 61}));
  Refuses(Kind::kFormat, "pass the end of the file", entry({17}));
  for (const int32_t type : {-1, INT32_MIN, INT32_MAX, 4, 5, 31, 38, 43}) {
    Refuses(Kind::kUnsupported, "tensor 'w': tensor type " + std::to_string(type),
            entry({32}, type));
  }
  const Grid& blocks = *FindGridByGgufType(8);
  Refuses(Kind::kFormat, "no multiple of the 32", entry({33}, blocks.gguf_type));
  Refuses(Kind::kFormat, "no multiple of the 32", entry({}, blocks.gguf_type));
}

TEST_F(GgufReaderTest, RefusesTensorsThatDoNotTileTheData) {
  const auto two = [](uint64_t extent, uint64_t first, uint64_t second) {
    return OneKey(2)
        .GgufTensor("a", {extent}, 0, first)
        .GgufTensor("b", {4}, 0, second)
        .PadTo(32)
        .Zeros(128);
  };
  Read(two(4, 0, 32));
  Refuses(Kind::kFormat, "tensor 'a': data offset 32 should be 0", two(4, 32, 0));
  Refuses(Kind::kFormat, "tensor 'b': data offset 0 should be 32", two(4, 0, 0));
  Refuses(Kind::kFormat, "tensor 'b': data offset 16 should be 32", two(4, 0, 16));
  Refuses(Kind::kFormat, "tensor 'b': data offset 64 should be 32", two(4, 0, 64));
  Refuses(Kind::kFormat, "tensor 'b': data offset 32 should be 64", two(9, 0, 32));
  Refuses(Kind::kFormat, "tensor 'b': data offset 18446744073709551584", two(4, 0, ~31ull));
  // Sums of padded sizes that wrap: 2^63 bytes, and 2^64 - 4 which padding turns into 0.
  Refuses(Kind::kFormat, "tensor 'a': 9223372036854775808 bytes", two(1ull << 61, 0, 1ull << 63));
  Refuses(Kind::kFormat, "tensor 'a': 18446744073709551612 bytes", two((1ull << 62) - 1, 0, 0));
  Refuses(Kind::kFormat, "tensor 'a': occurs twice",
          OneKey(2).GgufTensor("a", {4}, 0, 0).GgufTensor("a", {4}, 0, 32).PadTo(32).Zeros(64));
}

TEST_F(GgufReaderTest, ManyKeysTakeLinearTime) {
  constexpr uint32_t kKeys = 300000;
  ByteBuilder file;
  file.Gguf(0, kKeys);
  for (uint32_t i = 0; i < kKeys; ++i) file.Text(std::to_string(i)).U32(0).Put<uint8_t>(1);
  const auto path = folder_.Write("model.gguf", file);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(ReadGguf(path).metadata.entries().size(), kKeys);
  // Comparing each key with all before would take minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

class GgufSplitTest : public GgufReaderTest {
 protected:
  // Part `no` of `count` with one tensor.
  static ByteBuilder Part(uint16_t no, uint16_t count, std::string_view tensor, int32_t total) {
    return ByteBuilder()
        .Gguf(1, 3)
        .Text("split.no")
        .U32(2)
        .Put<uint16_t>(no)
        .Text("split.count")
        .U32(2)
        .Put<uint16_t>(count)
        .Text("split.tensors.count")
        .U32(5)
        .Put<int32_t>(total)
        .GgufTensor(tensor, {1}, 0, 0)
        .PadTo(32)
        .Put<float>(no)
        .PadTo(32);
  }
};

TEST_F(GgufSplitTest, ReadsAllParts) {
  const auto first = folder_.Write("m-00001-of-00002.gguf", Part(0, 2, "a", 2));
  folder_.Write("m-00002-of-00002.gguf", Part(1, 2, "b", 2));
  const Checkpoint checkpoint = OpenCheckpoint(first);
  EXPECT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(Decode(checkpoint.Get("b")), std::vector<float>{1});
  EXPECT_EQ(checkpoint.file_bytes, 2 * Part(0, 2, "a", 2).size());
  EXPECT_TRUE(checkpoint.metadata.entries().empty());
}

TEST_F(GgufSplitTest, RefusesPartsThatDoNotFit) {
  const auto first = folder_.Write("m-00001-of-00002.gguf", Part(0, 2, "a", 2));
  const auto second = folder_.path() / "m-00002-of-00002.gguf";
  const auto open = [&] { ReadGguf(first); };
  ExpectError(Kind::kIo, "1 of 2 parts are missing: " + second.filename().string(), open);
  folder_.Write(second.filename().string(), Part(0, 2, "b", 2));
  ExpectError(Kind::kFormat, "'split.no' should be 1 but is 0", open);
  folder_.Write(second.filename().string(), ByteBuilder().Gguf(0, 0));
  ExpectError(Kind::kFormat, "'split.no' should be 1 but is missing", open);
  folder_.Write(second.filename().string(), Part(1, 2, "a", 2));
  ExpectError(Kind::kFormat, "tensor 'a' lies in two", open);
  folder_.Write(second.filename().string(), Part(1, 2, "b", 3));
  folder_.Write(first.filename().string(), Part(0, 2, "a", 3));
  ExpectError(Kind::kFormat, "promises 3 tensors but the 2 parts hold 2", open);
  const auto renamed = folder_.Write("renamed.gguf", Part(0, 2, "a", 2));
  ExpectError(Kind::kFormat, "must end in '-00001-of-00002.gguf'", [&] { ReadGguf(renamed); });
  const auto beyond = folder_.Write("x-00001-of-00002.gguf", Part(5, 2, "a", 2));
  ExpectError(Kind::kFormat, "say part 5 of 2", [&] { ReadGguf(beyond); });
}

TEST_F(GgufSplitTest, AnyPartMayBeNamed) {
  const auto first = folder_.Write("m-00001-of-00002.gguf", Part(0, 2, "a", 2));
  const auto second = folder_.Write("m-00002-of-00002.gguf", Part(1, 2, "b", 2));
  const Checkpoint checkpoint = ReadGguf(second);
  EXPECT_EQ(checkpoint.path, first.string());
  EXPECT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(Decode(checkpoint.Get("b")), std::vector<float>{1});

  folder_.Write("m-00001-of-00002.gguf", Part(0, 3, "a", 2));
  ExpectError(Kind::kFormat, "is not the first of the 2 parts", [&] { ReadGguf(second); });
  std::filesystem::remove(first);
  ExpectError(Kind::kIo, "1 of 2 parts are missing: m-00001-of-00002.gguf",
              [&] { ReadGguf(second); });
  const auto renamed = folder_.Write("renamed.gguf", Part(1, 2, "b", 2));
  ExpectError(Kind::kFormat, "must end in '-00002-of-00002.gguf'", [&] { ReadGguf(renamed); });
}

TEST_F(GgufSplitTest, ReadsSplitOfGgufPy) {
  HALFTONE_NEED_SHARED("fixtures/gguf-split");
  for (const int part : {1, 2, 3}) {
    const Checkpoint checkpoint = ReadGguf(
        SharedPath("fixtures/gguf-split/split-0000" + std::to_string(part) + "-of-00003.gguf"));
    EXPECT_EQ(checkpoint.tensors.size(), 5u);
    EXPECT_EQ(checkpoint.metadata.Find("split.count"), nullptr);
  }
}

// expected.json comes from gguf-py: extents (innermost first) and type of each tensor.
TEST_F(GgufReaderTest, ReadsWhatLlamaQuantizeWrote) {
  HALFTONE_NEED_SHARED("fixtures/tiny-gguf-Q4_K_M-imatrix/model.gguf");
  for (const char* name : {"tiny-gguf-Q4_K_M-imatrix", "tiny-gguf-IQ3_XXS-imatrix"}) {
    const auto folder = SharedPath("fixtures") / name;
    const Json expected = ParseJson(ReadTextFile(folder / "expected.json"), "expected.json");
    const Checkpoint checkpoint = ReadGguf(folder / "model.gguf");
    const Json& tensors = expected["tensors"];
    ASSERT_EQ(checkpoint.tensors.size(), tensors.size());
    for (const Tensor& tensor : checkpoint.tensors) {
      SCOPED_TRACE(tensor.name);
      const auto extents = tensors.at(tensor.name).at("ne").get<std::vector<int64_t>>();
      EXPECT_EQ(tensor.shape, std::vector<int64_t>(extents.rbegin(), extents.rend()));
      EXPECT_EQ(tensor.grid->title, tensors.at(tensor.name).at("type").get<std::string>());
    }
  }
}

}  // namespace
}  // namespace halftone
