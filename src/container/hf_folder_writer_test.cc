#include "container/hf_folder_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "container/hf_folder.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

const Grid& F32() { return F32Grid(); }
const Grid& F16() { return *FindGridByGgufType(1); }

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

const Container& Plain() { return ContainerNamed("safetensors"); }

class HfFolderWriterTest : public testing::Test {
 protected:
  fs::path Path() const { return folder_.path() / "out"; }

  TempFolder folder_;
};

// As the library of safetensors writes these tensors (save_file of version 0.8.0, metadata
// {"format": "pt"}): large elements first, then by name, the header padded with spaces.
TEST_F(HfFolderWriterTest, LaysTensorsOutAsTheFormatsOwnLibrary) {
  CheckpointPlan plan;
  plan.tensors = {{"z", &F16(), {3}}, {"b", &F32(), {1, 2}}, {"a", &F16(), {1}}, {"c", &F32(), {}}};
  const auto writer = Plain().create(Path(), plan);
  writer->Append(Bytes("zz"));
  writer->Append(Bytes("ZZzz"));
  writer->Append(Bytes("bbbbBBBB"));
  writer->Append(Bytes("aa"));
  writer->Append(Bytes("cccc"));
  writer->Commit();
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                             R"("c":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
                             R"("a":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},)"
                             R"("z":{"dtype":"F16","shape":[3],"data_offsets":[14,20]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(ReadBytes(Path() / "model.safetensors"),
            SafetensorsBytes(header + padding, "bbbbBBBBccccaazzZZzz"));
  EXPECT_EQ(Plain().file_bytes(plan), fs::file_size(Path() / "model.safetensors"));
}

// The files of transformers' save_pretrained, read and written again, are the same bytes.
TEST_F(HfFolderWriterTest, WritesAPeersFileAgainByteForByte) {
  HALFTONE_NEED_SHARED("fixtures/small-bf16");
  const fs::path source = SharedPath("fixtures/small-bf16");
  const Checkpoint checkpoint = OpenCheckpoint(source);
  CheckpointPlan plan;
  plan.documents = checkpoint.documents;
  for (const Tensor& t : checkpoint.tensors) plan.tensors.push_back({t.name, t.grid, t.shape});
  std::ranges::reverse(plan.tensors);
  const auto writer = Plain().create(Path(), plan);
  for (const TensorPlan& t : plan.tensors) writer->Append(checkpoint.Get(t.name).data);
  writer->Commit();
  for (const char* name : {"model.safetensors", "config.json", "generation_config.json"}) {
    EXPECT_TRUE(ReadBytes(Path() / name) == ReadBytes(source / name)) << name;
  }
}

// As transformers names and fills the files: tensors in their order, as many as fit, and one that
// is larger alone. The index is what json.dumps(index, indent=2, sort_keys=True) prints.
TEST_F(HfFolderWriterTest, SplitsLargeModels) {
  CheckpointPlan plan;
  plan.split_bytes = 16;
  plan.tensors = {{"z", &F32(), {2}},     {"a", &F32(), {2}},     {"b", &F32(), {1}},
                  {"large", &F32(), {6}}, {"empty", &F32(), {0}}, {"last", &F16(), {1}}};
  const std::string data[] = {"zzzzZZZZ", "aaaaAAAA", "bbbb", std::string(24, 'l'), "", "ee"};
  const auto write = [&] {
    const auto writer = Plain().create(Path(), plan);
    for (const std::string& bytes : data) writer->Append(Bytes(bytes));
    writer->Commit();
  };
  write();
  EXPECT_EQ(ReadBytes(Path() / "model.safetensors.index.json"), R"({
  "metadata": {
    "total_size": 46
  },
  "weight_map": {
    "a": "model-00001-of-00004.safetensors",
    "b": "model-00002-of-00004.safetensors",
    "empty": "model-00004-of-00004.safetensors",
    "large": "model-00003-of-00004.safetensors",
    "last": "model-00004-of-00004.safetensors",
    "z": "model-00001-of-00004.safetensors"
  }
}
)");
  uint64_t size = 0;
  for (int no = 1; no <= 4; ++no) {
    size += fs::file_size(Path() / ("model-0000" + std::to_string(no) + "-of-00004.safetensors"));
  }
  EXPECT_EQ(Plain().file_bytes(plan), size);
  EXPECT_FALSE(fs::exists(Path() / "model.safetensors"));
  const Checkpoint checkpoint = OpenCheckpoint(Path());
  EXPECT_EQ(checkpoint.file_bytes, size);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const auto bytes = checkpoint.Get(plan.tensors[i].name).data;
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), data[i]);
  }
  // What fits into one is not split.
  fs::remove_all(Path());
  plan.split_bytes = 46;
  write();
  EXPECT_TRUE(fs::exists(Path() / "model.safetensors"));
  EXPECT_FALSE(fs::exists(Path() / "model.safetensors.index.json"));
}

TEST_F(HfFolderWriterTest, LaysOnePlannedTensorOutAsSeveral) {
  CheckpointPlan plan;
  plan.tensors = {{"w", &F16(), {2, 3}}, {"n", &F16(), {1}}, {"empty", &F16(), {0, 4}}};
  const auto u8 = FindSafetensorsDtype("U8");
  HfFolderPlan layout;
  // The low and the high bytes apart.
  const auto split = [](std::span<const uint8_t> blocks, std::span<std::vector<uint8_t>> parts) {
    for (size_t i = 0; i < blocks.size(); ++i) parts[i % 2][i / 2] = blocks[i];
  };
  layout.tensors.push_back({{{"w.low", u8, {6}}, {"w.high", u8, {6}}}, split});
  layout.tensors.push_back(PlainHfTensor(plan.tensors[1]));
  const auto state = [](std::span<const uint8_t>, std::span<std::vector<uint8_t>> parts) {
    parts[0] = {7};
  };
  layout.tensors.push_back({{{"empty.state", u8, {1}}}, state});
  const uint64_t promised = HfFolderBytes(plan, layout);
  const auto writer = CreateHfFolder(Path(), plan, layout);
  writer->Append(Bytes("aAbBc"));
  writer->Append(Bytes("CdDeEfF"));
  writer->Append(Bytes("nn"));
  writer->Commit();
  const SafetensorsFile file = ReadSafetensors(Path() / "model.safetensors");
  EXPECT_EQ(file.file_bytes, promised);
  std::map<std::string, std::string> data;
  for (const auto& t : file.tensors) data[t.name] = std::string(t.data.begin(), t.data.end());
  EXPECT_EQ(data,
            (std::map<std::string, std::string>{
                {"w.low", "abcdef"}, {"w.high", "ABCDEF"}, {"n", "nn"}, {"empty.state", "\7"}}));
}

TEST_F(HfFolderWriterTest, AppearsWholeOrNotAtAll) {
  CheckpointPlan plan;
  plan.documents = {{"config.json", "{}"}};
  plan.tensors = {{"a", &F16(), {2}}};
  {
    const auto writer = Plain().create(Path() / "", plan);
    writer->Append(Bytes("aa"));
    EXPECT_FALSE(fs::exists(Path()));
    ExpectError(Kind::kUsage, "only 2 of its 4 bytes", [&] { writer->Commit(); });
    ExpectError(Kind::kUsage, "more than the 2", [&] { writer->Append(Bytes("aaa")); });
    writer->Append(Bytes("aa"));
    ExpectError(Kind::kUsage, "after the last", [&] { writer->Append(Bytes("a")); });
  }
  EXPECT_EQ(folder_.Files(), 0);
  fs::create_directory(Path());  // an empty folder may be there
  const auto writer = Plain().create(Path() / "", plan);
  writer->Append(Bytes("aaaa"));
  writer->Commit();
  EXPECT_EQ(folder_.Files(), 1);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  EXPECT_EQ(fs::status(Path()).permissions(), static_cast<fs::perms>(0777 & ~mask));
  EXPECT_EQ(ReadBytes(Path() / "config.json"), "{}");
}

TEST_F(HfFolderWriterTest, TouchesNothingThatIsThere) {
  CheckpointPlan plan;
  const fs::path file = folder_.Write("file", "old");
  fs::create_directory(Path());
  folder_.Write("out/notes.txt", "mine");
  ExpectError(Kind::kUsage, "is not empty", [&] { Plain().create(Path(), plan); });
  ExpectError(Kind::kUsage, "is a file", [&] { Plain().create(file, plan); });
  ExpectError(Kind::kIo, "cannot create",
              [&] { Plain().create(folder_.path() / "absent" / "out", plan); });
  const auto late = Plain().create(folder_.path() / "late", plan);
  fs::create_directory(folder_.path() / "late");
  folder_.Write("late/notes.txt", "mine");
  ExpectError(Kind::kUsage, "is not empty", [&] { late->Commit(); });
  EXPECT_EQ(ReadBytes(file), "old");
  EXPECT_EQ(ReadBytes(Path() / "notes.txt"), "mine");
}

TEST_F(HfFolderWriterTest, RefusesWhatTheFormatCannotHold) {
  const auto refuses = [&](const std::string& part, std::vector<TensorPlan> tensors,
                           std::map<std::string, std::string> documents = {}) {
    CheckpointPlan plan;
    plan.tensors = std::move(tensors);
    plan.documents = std::move(documents);
    ExpectError(Kind::kUsage, part, [&] { Plain().create(Path(), plan); });
    EXPECT_EQ(folder_.Files(), 0) << part;
  };
  refuses("planned twice", {{"a", &F16(), {2}}, {"a", &F16(), {2}}});
  refuses("no such names", {{"a\xFF", &F16(), {2}}});
  refuses("no such names", {{"__metadata__", &F16(), {2}}});
  refuses("has no dtype", {{"a", FindGrid("int4:g32"), {32}}});
  refuses("has no dtype", {{"a", FindGridByGgufType(8), {32}}});
  refuses("no name for a file", {}, {{"../config.json", "{}"}});
  refuses("no name for a file", {}, {{"model.safetensors", "{}"}});
  const auto order = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{1, 0});
  refuses("in order", {{"a", &F16(), {1, 2}, order}});
}

TEST(HfDocumentsTest, SetAndRemoveTheConfiguration) {
  using Documents = std::map<std::string, std::string>;
  const Documents source = {
      {"config.json",
       R"({"z":1,"quantization_config":{"bits":8},"compression_config":{},"a":"\u00e4"})"},
      {"quantize_config.json", "{}"},
      {"quant_config.json", "{}"},
      {"tokenizer.json", "{ }"}};
  EXPECT_EQ(DocumentsWith(source, {{"bits", 4}}),
            (Documents{{"config.json",
                        "{\n  \"z\": 1,\n  \"a\": \"\u00e4\",\n  \"quantization_config\": {\n"
                        "    \"bits\": 4\n  }\n}\n"},
                       {"tokenizer.json", "{ }"}}));
  EXPECT_EQ(DocumentsWith(source, nullptr),
            (Documents{{"config.json", "{\n  \"z\": 1,\n  \"a\": \"\u00e4\"\n}\n"},
                       {"tokenizer.json", "{ }"}}));
  // Nothing to change: not even the spaces.
  const Documents plain = {{"config.json", "{ \"a\" :1}"}};
  EXPECT_EQ(DocumentsWith(plain, nullptr), plain);
  EXPECT_EQ(DocumentsWith({}, nullptr), Documents());
  EXPECT_EQ(DocumentsWith({}, {{"bits", 4}}).size(), 1u);
  ExpectError(Kind::kFormat, "config.json", [] { DocumentsWith({{"config.json", "[]"}}, {}); });
  ExpectError(Kind::kFormat, "config.json", [] { DocumentsWith({{"config.json", "{"}}, {}); });
}

}  // namespace
}  // namespace halftone
