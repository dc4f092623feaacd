#include "container/gguf_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "container/gguf_reader.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Writes what a checkpoint holds in the order it holds it.
void Rewrite(const Checkpoint& checkpoint, const std::filesystem::path& path) {
  CheckpointPlan plan;
  plan.metadata = checkpoint.metadata;
  for (const Tensor& t : checkpoint.tensors) plan.tensors.push_back({t.name, t.grid, t.shape});
  const auto writer = CreateGguf(path, plan);
  for (const Tensor& t : checkpoint.tensors) writer->Append(t.data);
  writer->Commit();
  EXPECT_EQ(std::filesystem::file_size(path), GgufBytes(plan));
}

class GgufWriterTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::filesystem::path path_ = folder_.path() / "out.gguf";
};

TEST_F(GgufWriterTest, LaysBytesOutAsSpecified) {
  CheckpointPlan plan;
  plan.metadata.Set("u8", uint8_t{200});
  plan.metadata.Set("i8", int8_t{-3});
  plan.metadata.Set("u16", uint16_t{60000});
  plan.metadata.Set("i16", int16_t{-300});
  plan.metadata.Set("u32", uint32_t{4000000000});
  plan.metadata.Set("i32", int32_t{-70000});
  plan.metadata.Set("f32", 0.5f);
  plan.metadata.Set("bool", true);
  plan.metadata.Set("string", std::string("h\xC3\xA9"));
  plan.metadata.Set("u64", uint64_t{1} << 63);
  plan.metadata.Set("i64", int64_t{-5});
  plan.metadata.Set("f64", 0.1);
  plan.metadata.Set("strings", Array{std::vector<std::string>{"a", ""}});
  plan.metadata.Set("bools", Array{Array::Bool{{1, 0}}});
  plan.metadata.Set("empty", Array{std::vector<double>{}});
  plan.tensors = {{"m", &F32Grid(), {2, 3}},
                  {"none", &F32Grid(), {0, 4}},
                  {"scalar", &F32Grid(), {}},
                  {"trailing", &F32Grid(), {1, 1, 2}}};
  const auto writer = CreateGguf(path_, plan);
  writer->Append(AsBytes(std::string(10, 'm')));  // a tensor may come in pieces
  writer->Append(AsBytes(std::string(14, 'M')));
  writer->Append({});
  writer->Append(AsBytes("scal"));
  EXPECT_EQ(folder_.Files(), 1);
  EXPECT_FALSE(std::filesystem::exists(path_));
  writer->Append(AsBytes("trailing"));
  writer->Commit();

  ByteBuilder expected;
  expected.Gguf(4, 15);
  expected.Text("u8").U32(0).Put<uint8_t>(200).Text("i8").U32(1).Put<int8_t>(-3);
  expected.Text("u16").U32(2).Put<uint16_t>(60000).Text("i16").U32(3).Put<int16_t>(-300);
  expected.Text("u32").U32(4).U32(4000000000u).Text("i32").U32(5).Put<int32_t>(-70000);
  expected.Text("f32").U32(6).Put<float>(0.5f).Text("bool").U32(7).Put<uint8_t>(1);
  expected.Text("string").U32(8).Text("h\xC3\xA9").Text("u64").U32(10).U64(1ull << 63);
  expected.Text("i64").U32(11).Put<int64_t>(-5).Text("f64").U32(12).Put<double>(0.1);
  expected.Text("strings").U32(9).U32(8).U64(2).Text("a").Text("");
  expected.Text("bools").U32(9).U32(7).U64(2).Put<uint8_t>(1).Put<uint8_t>(0);
  expected.Text("empty").U32(9).U32(12).U64(0);
  expected.GgufTensor("m", {3, 2}, 0, 0).GgufTensor("none", {4, 0}, 0, 32);
  expected.GgufTensor("scalar", {}, 0, 32).GgufTensor("trailing", {2, 1, 1}, 0, 64).PadTo(32);
  expected.Raw("mmmmmmmmmmMMMMMMMMMMMMMM").PadTo(32);
  expected.Raw("scal").PadTo(32).Raw("trailing").PadTo(32);
  EXPECT_EQ(ReadBytes(path_), expected.bytes());
  EXPECT_EQ(GgufBytes(plan), expected.size());

  Rewrite(ReadGguf(path_), folder_.path() / "again.gguf");
  EXPECT_EQ(ReadBytes(folder_.path() / "again.gguf"), expected.bytes());
}

TEST_F(GgufWriterTest, KeepsTheAlignmentAsked) {
  for (const uint32_t alignment : {1u, 8u, 16384u}) {
    CheckpointPlan plan;
    plan.metadata.Set("general.alignment", alignment);
    plan.tensors = {{"a", &F32Grid(), {1}}, {"b", &F32Grid(), {1}}};
    const auto writer = CreateGguf(path_, plan);
    writer->Append(AsBytes("aaaa"));
    writer->Append(AsBytes("bbbb"));
    writer->Commit();
    EXPECT_EQ(std::filesystem::file_size(path_) % alignment, 0u);
    EXPECT_EQ(std::memcmp(ReadGguf(path_).Get("b").data.data(), "bbbb", 4), 0);
  }
}

// Every file that gguf-py, llama-quantize and llama-imatrix wrote comes out byte for byte.
TEST_F(GgufWriterTest, RewritesFilesOfThePeersIdentically) {
  HALFTONE_NEED_SHARED("fixtures/imatrix");
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SharedPath("fixtures"))) {
    const std::string folder = entry.path().parent_path().filename().string();
    // The edge cases are assembled by hand; parts of a split model become one file.
    if (entry.path().extension() != ".gguf" || folder == "gguf-edge" || folder == "gguf-split") {
      continue;
    }
    SCOPED_TRACE(entry.path().string());
    Rewrite(ReadGguf(entry.path()), path_);
    EXPECT_TRUE(ReadBytes(path_) == ReadBytes(entry.path()));
    ++files;
  }
  EXPECT_GE(files, 29);
}

TEST_F(GgufWriterTest, RefusesWhatGgufCannotHold) {
  const auto refuses = [&](const std::string& part, const CheckpointPlan& plan) {
    SCOPED_TRACE(part);
    ExpectError(Kind::kUsage, part, [&] { GgufBytes(plan); });
    ExpectError(Kind::kUsage, part, [&] { CreateGguf(path_, plan); });
    EXPECT_EQ(folder_.Files(), 0);
  };
  const auto with_key = [](std::string_view key, Value value) {
    CheckpointPlan plan;
    plan.metadata.Set(key, std::move(value));
    return plan;
  };
  refuses("empty keys", with_key("", true));
  refuses("'general.alignment': must be a power of two", with_key("general.alignment", 48u));
  refuses("is the u64 32", with_key("general.alignment", uint64_t{32}));
  refuses("arrays of arrays", with_key("k", Array{Array::Nested{}}));
  const std::string long_name(64, 'n');
  refuses("names of 63 bytes", {{}, {}, {{long_name, &F32Grid(), {1}}}});
  refuses("allows 4 dimensions", {{}, {}, {{"a", &F32Grid(), {1, 1, 1, 1, 1}}}});
  refuses("planned twice", {{}, {}, {{"a", &F32Grid(), {1}}, {"a", &F32Grid(), {1}}}});
  const Grid* blocks = FindGridByGgufType(8);
  refuses("33 columns", {{}, {}, {{"a", blocks, {2, 33}}}});
  Grid stranger = F32Grid();
  stranger.gguf_type = -1;
  refuses("has no type in GGUF", {{}, {}, {{"a", &stranger, {1}}}});
}

TEST_F(GgufWriterTest, RefusesTooFewAndTooManyBytes) {
  const CheckpointPlan plan{{}, {}, {{"a", &F32Grid(), {2}}}};
  {
    const auto writer = CreateGguf(path_, plan);
    writer->Append(AsBytes("1234"));
    ExpectError(Kind::kUsage, "tensor 'a': only 4 of its 8 bytes", [&] { writer->Commit(); });
    ExpectError(Kind::kUsage, "5 bytes are more than the 4",
                [&] { writer->Append(AsBytes("12345")); });
    writer->Append(AsBytes("5678"));
    ExpectError(Kind::kUsage, "after the last", [&] { writer->Append(AsBytes("9")); });
  }
  EXPECT_EQ(folder_.Files(), 0);
}

// A limit on the size of files makes write() fail as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

TEST_F(GgufWriterTest, AFullDiskLeavesTheOldFileOrNone) {
  constexpr int64_t kFloats = 3 << 20;
  const CheckpointPlan plan{{}, {}, {{"a", &F32Grid(), {kFloats}}}};
  const std::string data(kFloats * sizeof(float), 'x');
  const auto write = [&] {
    const auto writer = CreateGguf(path_, plan);
    // Pieces: some fill the buffer, some pass it by.
    for (size_t at = 0; at < data.size(); at += data.size() / 8) {
      writer->Append(AsBytes(std::string_view(data).substr(at, data.size() / 8)));
    }
    writer->Commit();
  };
  for (const rlim_t limit : {0u, 1000u, 1u << 20, 5u << 20, 12u << 20}) {
    const FileSizeLimit full(limit);
    ExpectError(Kind::kIo, path_.string(), write);
    EXPECT_EQ(folder_.Files(), 0) << limit;
  }
  folder_.Write("out.gguf", "the old file");
  {
    const FileSizeLimit full(1 << 20);
    ExpectError(Kind::kIo, "cannot write", write);
  }
  EXPECT_EQ(ReadBytes(path_), "the old file");
  EXPECT_EQ(folder_.Files(), 1);
  write();
  EXPECT_EQ(folder_.Files(), 1);
  EXPECT_EQ(ReadGguf(path_).Get("a").data.size(), data.size());
}

// Where llama-gguf-split cuts: sizes are padded to 32, a part takes what fits. The interop tests
// compare bytes.
TEST_F(GgufWriterTest, SplitsAFile) {
  CheckpointPlan plan;
  plan.metadata.Set("general.architecture", std::string("llama"));
  plan.split_bytes = 96;
  plan.tensors = {{"a", &F32Grid(), {8}},  {"b", &F32Grid(), {9}},     {"c", &F32Grid(), {1}},
                  {"d", &F32Grid(), {30}}, {"e", &F32Grid(), {0, 32}}, {"f", &F32Grid(), {2}}};
  const std::string data[] = {
      std::string(32, 'a'), std::string(36, 'b'), "cccc", std::string(120, 'd'), "", "ffffffff"};
  const auto name = [](int no) { return "out-0000" + std::to_string(no) + "-of-00004.gguf"; };
  const auto write = [&] {
    const auto writer = CreateGguf(path_, plan);
    for (const std::string& bytes : data) {
      writer->Append(AsBytes(std::string_view(bytes).substr(0, bytes.size() / 2)));
      writer->Append(AsBytes(std::string_view(bytes).substr(bytes.size() / 2)));
    }
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / name(1)));
    writer->Commit();
  };
  write();
  EXPECT_EQ(folder_.Files(), 4);
  EXPECT_EQ(GgufOpened(path_, plan), folder_.path() / name(1));
  const std::vector<std::vector<std::string>> parts = {{"a", "b"}, {"c"}, {"d"}, {"e", "f"}};
  uint64_t size = 0;
  for (int no = 1; no <= 4; ++no) {
    // A part by itself, told that it is no part.
    const std::string path = folder_.path() / name(no);
    size += std::filesystem::file_size(path);
    const std::string bytes = ReadBytes(path);
    const std::string count = ByteBuilder().Text("split.count").U32(2).Put<uint16_t>(4).bytes();
    const std::string number =
        ByteBuilder().Text("split.no").U32(2).Put<uint16_t>(static_cast<uint16_t>(no - 1)).bytes();
    const std::string total = ByteBuilder().Text("split.tensors.count").U32(5).U32(6).bytes();
    EXPECT_NE(bytes.find(number + total + count), std::string::npos);
    EXPECT_EQ(bytes.find("general.architecture") != std::string::npos, no == 1);
    for (const TensorPlan& tensor : plan.tensors) {
      const bool here = std::ranges::count(parts[no - 1], tensor.name) > 0;
      EXPECT_EQ(bytes.find(ByteBuilder().Text(tensor.name).bytes()) != std::string::npos, here)
          << tensor.name << " in " << no;
    }
  }
  EXPECT_EQ(GgufBytes(plan), size);
  const Checkpoint read = ReadGguf(folder_.path() / name(1));
  EXPECT_EQ(read.file_bytes, size);
  EXPECT_EQ(read.metadata.entries().size(), 1u);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const auto bytes = read.Get(plan.tensors[i].name).data;
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), data[i]);
  }
}

TEST_F(GgufWriterTest, WhatFitsIntoOnePartIsAnOrdinaryFile) {
  CheckpointPlan plan{{}, {}, {{"a", &F32Grid(), {8}}, {"b", &F32Grid(), {1}}}};
  const auto write = [&](uint64_t split_bytes) {
    plan.split_bytes = split_bytes;
    EXPECT_EQ(GgufOpened(path_, plan), path_);
    const auto writer = CreateGguf(path_, plan);
    writer->Append(AsBytes(std::string(32, 'a')));
    writer->Append(AsBytes("bbbb"));
    writer->Commit();
    return ReadBytes(path_);
  };
  EXPECT_EQ(write(64), write(0));
  EXPECT_EQ(folder_.Files(), 1);
}

TEST_F(GgufWriterTest, PartsAppearTogetherOrNotAtAll) {
  CheckpointPlan plan{{}, {}, {{"a", &F32Grid(), {8}}, {"b", &F32Grid(), {8}}}};
  plan.split_bytes = 32;
  {
    const auto writer = CreateGguf(path_, plan);
    writer->Append(AsBytes(std::string(32, 'a')));
    writer->Append(AsBytes(std::string(16, 'b')));
    ExpectError(Kind::kUsage, "tensor 'b': only 16 of its 32 bytes", [&] { writer->Commit(); });
    ExpectError(Kind::kUsage, "17 bytes are more than the 16",
                [&] { writer->Append(AsBytes(std::string(17, 'b'))); });
  }
  EXPECT_EQ(folder_.Files(), 0);
  plan.tensors[1].name = "a";
  ExpectError(Kind::kUsage, "'a' is planned twice", [&] { CreateGguf(path_, plan); });
  EXPECT_EQ(folder_.Files(), 0);
}

TEST_F(GgufWriterTest, AMissingFolderIsAnError) {
  ExpectError(Kind::kIo, "missing/out.gguf",
              [&] { CreateGguf(folder_.path() / "missing" / "out.gguf", {}); });
}

}  // namespace
}  // namespace halftone
