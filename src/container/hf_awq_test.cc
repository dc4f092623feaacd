// AWQ's folders laid out by hand: where every code goes, and what is refused. Folders in AutoAWQ's
// own layouts: tests/conformance/awq_weights_test.cc.

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/json.h"
#include "container/container.h"
#include "tests/testing/damage.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/hf_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

// A layer "w", and what its weights are.
struct Hand {
  int in, out, group;
  std::vector<int> codes;     // [out, in]
  std::vector<int> zeros;     // [groups, out]
  std::vector<float> scales;  // [groups, out]

  Hand(int in, int out, int group) : in(in), out(out), group(group) {
    std::mt19937 random(in * 31 + out);
    for (int i = 0; i < in * out; ++i) codes.push_back(static_cast<int>(random() % 16));
    for (int i = 0; i < groups() * out; ++i) {
      zeros.push_back(static_cast<int>(random() % 16));
      scales.push_back(F16ToF32(F32ToF16(0.01f + 0.001f * static_cast<float>(random() % 64))));
    }
  }

  int groups() const { return in / group; }

  std::string Config(const std::string& version) const {
    return R"({"quantization_config":{"quant_method":"awq","zero_point":true,"bits":4,"group_size":)" +
           std::to_string(group) + ",\"version\":\"" + version + "\"}}";
  }

  // Rows of inputs (or groups) with 8 outputs in a word, in AWQ's order.
  static std::string Gemm(int rows, int out, const std::function<int(int, int)>& code) {
    constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
    std::vector<uint32_t> words;
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < out; c += 8) {
        uint32_t word = 0;
        for (int n = 0; n < 8; ++n) word |= static_cast<uint32_t>(code(r, c + kOrder[n])) << 4 * n;
        words.push_back(word);
      }
    }
    return BytesOf(words);
  }

  HandFolder GemmFolder() const {
    HandFolder folder;
    std::string halves(scales.size() * 2, '\0');
    for (size_t i = 0; i < scales.size(); ++i) StoreF16(halves.data() + 2 * i, scales[i]);
    folder.tensors["w.qweight"] = {
        "I32", {in, out / 8}, Gemm(in, out, [&](int i, int o) { return codes[o * in + i]; })};
    folder.tensors["w.qzeros"] = {
        "I32", {groups(), out / 8}, Gemm(groups(), out, [&](int g, int o) {
          return zeros[g * out + o];
        })};
    folder.tensors["w.scales"] = {"F16", {groups(), out}, halves};
    folder.config = Config("gemm");
    return folder;
  }

  // `zero_words`: how many words the zeros of an output are padded to.
  HandFolder GemvFolder(int zero_words) const {
    HandFolder folder;
    std::vector<uint32_t> qweight(out * in / 8), qzeros(out * zero_words);
    std::vector<uint16_t> halves(out * zero_words * 8);
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) {
        qweight[(o * in + i) / 8] |= static_cast<uint32_t>(codes[o * in + i]) << (i % 8 * 4);
      }
      for (int g = 0; g < groups(); ++g) {
        qzeros[o * zero_words + g / 8] |= static_cast<uint32_t>(zeros[g * out + o]) << (g % 8 * 4);
        halves[o * zero_words * 8 + g] = F32ToF16(scales[g * out + o]);
      }
    }
    folder.tensors["w.qweight"] = {"I32", {out, in / 8}, BytesOf(qweight)};
    folder.tensors["w.qzeros"] = {"I32", {out, zero_words}, BytesOf(qzeros)};
    folder.tensors["w.scales"] = {"F16", {out, zero_words * 8}, BytesOf(halves)};
    folder.config = Config("gemv");
    return folder;
  }

  std::vector<float> Weights() const {
    std::vector<float> weights;
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) {
        const int at = i / group * out + o;
        const float product = static_cast<float>(codes[o * in + i] - zeros[at]) * scales[at];
        weights.push_back(F16ToF32(F32ToF16(product)));
      }
    }
    return weights;
  }
};

class AwqTest : public testing::Test {
 protected:
  Checkpoint Open(const HandFolder& hand) const {
    hand.WriteTo(folder_);
    return OpenCheckpoint(folder_.path());
  }
  void ExpectWeights(const Hand& hand, const HandFolder& files, const std::string& grid) const {
    const Checkpoint checkpoint = Open(files);
    EXPECT_EQ(checkpoint.container, "awq");
    const Tensor& tensor = checkpoint.Get("w.weight");
    EXPECT_EQ(tensor.grid->name, grid);
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{hand.out, hand.in}));
    EXPECT_TRUE(Decode(tensor) == hand.Weights());
    // Any rows alone are what they are among all.
    const Tensor all = Loaded(tensor);
    for (const int begin : {0, 3, hand.out - 1}) {
      const int end = std::min(begin + 9, hand.out);
      std::vector<uint8_t> some(static_cast<size_t>(end - begin) * tensor.row_bytes());
      tensor.source->Read(begin, end, some.data());
      EXPECT_TRUE(
          std::ranges::equal(some, all.data.subspan(begin * tensor.row_bytes(), some.size())));
    }
  }

  TempFolder folder_;
};

TEST_F(AwqTest, ReadsGemm) {
  for (const int out : {8, 120, 128, 264}) {
    for (const int group : {2, 16, 32, 96}) {
      SCOPED_TRACE(std::to_string(out) + " outputs, groups of " + std::to_string(group));
      const Hand hand(96, out, group);
      ExpectWeights(hand, hand.GemmFolder(), "int4:g" + std::to_string(group) + ":asym");
    }
  }
}

TEST_F(AwqTest, ReadsGemv) {
  const Hand hand(640, 12, 64);  // 10 groups: 2 words
  for (const int padded : {2, 4}) ExpectWeights(hand, hand.GemvFolder(padded), "int4:g64:asym");
}

TEST_F(AwqTest, GroupsMayBeWholeRows) {
  const Hand hand(96, 16, 96);
  for (HandFolder files : {hand.GemmFolder(), hand.GemvFolder(1)}) {
    ExpectWeights(hand, files, "int4:g96:asym");
    files.config.replace(files.config.find(":96"), 3, ":-1");
    ExpectWeights(hand, files, "int4:row:asym");
  }
}

TEST_F(AwqTest, SettingsMayLieBesideTheWeights) {
  const Hand hand(64, 16, 32);
  HandFolder files = hand.GemmFolder();
  files.config = "{}";
  folder_.Write("quant_config.json",
                R"({"zero_point":true,"q_group_size":32,"w_bit":4,"version":"GEMM"})");
  ExpectWeights(hand, files, "int4:g32:asym");
  fs::remove(folder_.path() / "quant_config.json");
  folder_.Write("quantize_config.json",
                R"({"quant_method":"awq","format":"gemm","group_size":32})");
  ExpectWeights(hand, files, "int4:g32:asym");
  // Or nowhere.
  fs::remove(folder_.path() / "quantize_config.json");
  ExpectWeights(hand, files, "int4:g32:asym");
}

TEST_F(AwqTest, OtherTensorsStayAsTheyAre) {
  HandFolder files = Hand(64, 16, 32).GemmFolder();
  files.tensors["w.bias"] = {"F16", {16}, std::string(32, '\1')};
  files.tensors["act.scales"] = {"F16", {4}, std::string(8, '\1')};
  const Checkpoint checkpoint = Open(files);
  EXPECT_EQ(checkpoint.tensors.size(), 3u);
  EXPECT_EQ(checkpoint.Get("act.scales").grid->name, "f16");
}

// ---- What is refused ----

class AwqRefusesTest : public AwqTest {
 protected:
  void Refuses(const std::string& part, const std::function<void(HandFolder&)>& damage,
               Kind kind = Kind::kFormat, bool gemv = false) const {
    SCOPED_TRACE(part);
    const Hand hand(64, 16, 32);
    HandFolder files = gemv ? hand.GemvFolder(1) : hand.GemmFolder();
    damage(files);
    ExpectError(kind, part, [&] { Open(files); });
    ExpectError(kind, folder_.path().string(), [&] { Open(files); });
  }
  void RefusesSetting(const std::string& part, const std::string& old, const std::string& now,
                      Kind kind = Kind::kFormat) const {
    Refuses(
        part, [&](HandFolder& f) { f.config.replace(f.config.find(old), old.size(), now); }, kind);
  }
  void RefusesTensor(const std::string& part, const std::string& name, const HandTensor& tensor,
                     bool gemv = false) const {
    Refuses(
        part, [&](HandFolder& f) { f.tensors[name] = tensor; }, Kind::kFormat, gemv);
  }
};

TEST_F(AwqRefusesTest, MissingParts) {
  for (const std::string part : {"w.qweight", "w.qzeros", "w.scales"}) {
    Refuses("'" + part + "' is missing", [&](HandFolder& f) { f.tensors.erase(part); });
  }
  RefusesTensor("twice", "w.weight", {"F16", {1}, "xx"});
}

TEST_F(AwqRefusesTest, ShapesThatDisagree) {
  const auto zeros = [](size_t n) { return std::string(n, '\0'); };
  RefusesTensor("must be I32 [2, 1]", "w.qweight", {"I32", {64, 1}, zeros(256)});
  RefusesTensor("must be I32 [1, 2]", "w.qweight", {"I32", {32, 2}, zeros(256)});
  RefusesTensor("63 inputs", "w.qweight", {"I32", {63, 2}, zeros(504)});
  RefusesTensor("matrix", "w.qweight", {"I32", {128}, zeros(512)});
  RefusesTensor("must be I32", "w.qweight", {"F32", {64, 2}, zeros(512)});
  RefusesTensor("must be I32 [2, 2]", "w.qzeros", {"I32", {1, 2}, zeros(8)});
  RefusesTensor("must be F16 [2, 16]", "w.scales", {"F16", {2, 8}, zeros(32)});
  RefusesTensor("must be F16 or BF16", "w.scales", {"F32", {2, 16}, zeros(128)});
  RefusesTensor("room for 0 groups", "w.qzeros", {"I32", {16, 0}, ""}, true);
  RefusesTensor("must be I32 [16, 1]", "w.qzeros", {"I32", {8, 1}, zeros(32)}, true);
  RefusesTensor("must be F16 [16, 8]", "w.scales", {"F16", {16, 2}, zeros(64)}, true);
  constexpr int64_t kHuge = int64_t{1} << 61;
  RefusesTensor("matrix", "w.qweight", {"I32", {kHuge, 0}, ""});
  RefusesTensor("matrix", "w.qweight", {"I32", {0, kHuge}, ""});
  RefusesTensor("0 inputs", "w.qweight", {"I32", {0, 2}, ""});
}

TEST_F(AwqRefusesTest, WrongSettings) {
  RefusesSetting("8 bits", "\"bits\":4", "\"bits\":8", Kind::kUnsupported);
  RefusesSetting("'bits' must be an integer", "\"bits\":4", "\"bits\":[4]");
  RefusesSetting("group_size is 0", ":32", ":0");
  RefusesSetting("group_size is -2", ":32", ":-2");
  RefusesSetting("groups of 9223372036854775807", ":32", ":9223372036854775807");
  RefusesSetting("groups of 48", ":32", ":48");
  RefusesSetting("must be I32 [4, 2]", ":32", ":16");
  RefusesSetting("groups of 1 are", ":32", ":1", Kind::kUnsupported);
  RefusesSetting("'gemv_fast'", "gemm", "gemv_fast", Kind::kUnsupported);
  Refuses(
      "nothing says",
      [](HandFolder& f) { f.config.replace(f.config.find(",\"group_size\":32"), 16, ""); },
      Kind::kFormat, true);
}

// Whatever damage does to header, codes and settings: weights or an Error.
TEST_F(AwqTest, DamagedFilesAreReadOrRefused) {
  // Links to memory: thousands of small files would keep a disk busy.
  const MemoryFile model, settings;
  fs::create_symlink(model.Write(""), folder_.path() / "model.safetensors");
  fs::create_symlink(settings.Write(""), folder_.path() / "config.json");
  std::mt19937 random(20261123);
  int opened = 0;
  constexpr int kRuns = 2000;
  for (const HandFolder& files :
       std::vector<HandFolder>{Hand(32, 8, 16).GemmFolder(), Hand(32, 8, 16).GemvFolder(1)}) {
    const std::string whole = files.Safetensors();
    for (int run = 0; run < kRuns; ++run) {
      std::string weights = whole, config = files.config;
      Damage(run % 4 == 0 ? config : weights, random);
      model.Write(weights);
      settings.Write(config);
      opened += !Caught([&] {
        const Checkpoint checkpoint = ContainerNamed("awq").open(folder_.path());
        for (const Tensor& tensor : checkpoint.tensors) {
          ASSERT_EQ(Decode(tensor).size(), static_cast<size_t>(tensor.count()));
        }
      });
    }
  }
  EXPECT_GT(opened, kRuns / 10);
  EXPECT_LT(opened, 2 * kRuns * 9 / 10);
}

// ---- Writing ----

TEST_F(AwqTest, WritesSettingsThatReadersKnow) {
  const Grid& grid = *FindGrid("int4:g32:asym");
  const Grid& plain = *FindGridByGgufType(1);
  CheckpointPlan plan;
  plan.documents = {{"config.json", R"({"a":1,"quantization_config":{"quant_method":"old"}})"}};
  plan.tensors = {{"model.layers.0.q_proj.weight", &grid, {32, 64}},
                  {"model.layers.0.o_proj.weight", &plain, {32, 64}},
                  {"model.norm.weight", &plain, {64}},
                  {"lm_head.weight", &plain, {32, 64}}};
  const auto writer = ContainerNamed("awq").create(folder_.path() / "out", plan);
  for (const TensorPlan& t : plan.tensors) writer->Append(std::vector<uint8_t>(t.bytes()));
  writer->Commit();
  const Json config = ParseJson(ReadBytes(folder_.path() / "out" / "config.json"), "");
  EXPECT_EQ(config["quantization_config"],
            (Json{{"quant_method", "awq"},
                  {"bits", 4},
                  {"group_size", 32},
                  {"zero_point", true},
                  {"version", "gemm"},
                  {"modules_to_not_convert", {"model.layers.0.o_proj"}}}));
}

TEST_F(AwqTest, RefusesToWriteWhatTheFormatCannotHold) {
  const Grid& grid = *FindGrid("int4:g32:asym");
  const auto refuses = [&](const std::string& part, std::vector<TensorPlan> tensors) {
    CheckpointPlan plan;
    plan.tensors = std::move(tensors);
    ExpectError(Kind::kUsage, part,
                [&] { ContainerNamed("awq").create(folder_.path() / "out", plan); });
    ExpectError(Kind::kUsage, part, [&] { ContainerNamed("awq").file_bytes(plan); });
  };
  refuses("not this one", {{"w.weight", &grid, {2, 8, 32}}});
  refuses("not this one", {{"w", &grid, {8, 32}}});
  refuses("8 rows together, 12", {{"w.weight", &grid, {12, 32}}});
  refuses("48 columns", {{"w.weight", &grid, {8, 48}}});
  refuses("cannot hold grid 'int4:g32'", {{"w.weight", FindGrid("int4:g32"), {8, 64}}});
  refuses("cannot hold grid", {{"w.weight", FindGrid("int8:g32:asym"), {8, 64}}});
  refuses("not 32 and 64",
          {{"a.weight", &grid, {8, 64}}, {"b.weight", FindGrid("int4:g64:asym"), {8, 64}}});
  refuses("in order",
          {{"w.weight", &grid, {8, 32}, std::make_shared<const std::vector<int32_t>>(32)}});
}

}  // namespace
}  // namespace halftone
