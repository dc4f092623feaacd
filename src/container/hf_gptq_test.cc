// GPTQ's folders laid out by hand: where every code goes, which zeros are meant, and what is
// refused. Folders that GPTQModel itself wrote: tests/conformance/gptq_weights_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/json.h"
#include "container/container.h"
#include "grid/grouped.h"
#include "tests/testing/damage.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/hf_folder.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

// Numbers of `bits`, one after another from the lowest bit on, filled up to words: bit by bit, as
// the format says it.
std::string Stream(const std::vector<int>& numbers, int bits) {
  std::string bytes((numbers.size() * bits + 31) / 32 * 4, '\0');
  for (size_t at = 0; at < numbers.size() * bits; ++at) {
    const int bit = numbers[at / bits] >> (at % bits) & 1;
    bytes[at / 8] = static_cast<char>(bytes[at / 8] | bit << (at % 8));
  }
  return bytes;
}

std::string F16Bytes(const std::vector<float>& values) {
  std::string bytes(values.size() * 2, '\0');
  for (size_t i = 0; i < values.size(); ++i) StoreF16(bytes.data() + 2 * i, values[i]);
  return bytes;
}

// A layer "w", and what its weights are.
struct Hand {
  int in, out, bits, group;
  std::vector<int> codes;     // [out, in]
  std::vector<int> zeros;     // [groups, out], as meant
  std::vector<float> scales;  // [groups, out]
  std::vector<int> group_of;  // [in]

  Hand(int in, int out, int bits, int group, bool symmetric)
      : in(in), out(out), bits(bits), group(group), codes(in * out), group_of(in) {
    std::mt19937 random(in * 31 + out * 7 + bits);
    for (int i = 0; i < in; ++i) group_of[i] = i / group;
    const int top = (1 << bits) - 1;
    for (int g = 0; g < groups() * out; ++g) {
      zeros.push_back(symmetric ? (top + 1) / 2 : static_cast<int>(random() % (top + 1)));
      scales.push_back(F16ToF32(F32ToF16(0.01f + 0.001f * static_cast<float>(random() % 64))));
    }
    // On average the code is the zero, as it is where weights are zero on average.
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) {
        const int zero = zeros[group_of[i] * out + o], spread = std::min(zero, top - zero);
        codes[o * in + i] = zero - spread + static_cast<int>(random() % (2 * spread + 1));
      }
    }
  }

  int groups() const { return (in + group - 1) / group; }

  // `stored`: a zero as the file has it.
  HandFolder Folder(const std::function<int(int)>& stored, const std::string& settings) const {
    const int words = (in * bits + 31) / 32, zero_words = (out * bits + 31) / 32;
    HandFolder folder;
    std::string qweight(words * out * 4, '\0'), qzeros;
    for (int o = 0; o < out; ++o) {
      const std::string row = Stream({codes.begin() + o * in, codes.begin() + (o + 1) * in}, bits);
      for (int k = 0; k < words; ++k) qweight.replace((k * out + o) * 4, 4, row, k * 4, 4);
    }
    for (int g = 0; g < groups(); ++g) {
      std::vector<int> row;
      for (int o = 0; o < out; ++o) row.push_back(stored(zeros[g * out + o]));
      qzeros += Stream(row, bits);
    }
    folder.tensors["w.qweight"] = {"I32", {words, out}, qweight};
    folder.tensors["w.qzeros"] = {"I32", {groups(), zero_words}, qzeros};
    folder.tensors["w.scales"] = {"F16", {groups(), out}, F16Bytes(scales)};
    folder.tensors["w.g_idx"] = {"I32", {in}, BytesOf(group_of)};
    folder.config = R"({"quantization_config":{"quant_method":"gptq","bits":)" +
                    std::to_string(bits) + ",\"group_size\":" + std::to_string(group) +
                    (settings.empty() ? "" : "," + settings) + "}}";
    return folder;
  }

  std::vector<float> Weights() const {
    std::vector<float> weights;
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) {
        const int at = group_of[i] * out + o;
        const float product = static_cast<float>(codes[o * in + i] - zeros[at]) * scales[at];
        weights.push_back(F16ToF32(F32ToF16(product)));
      }
    }
    return weights;
  }
};

int Same(int zero) { return zero; }
int LessOne(int zero) { return zero - 1; }

constexpr const char* kV1 = R"("sym":false,"desc_act":false,"checkpoint_format":"gptq")";
constexpr const char* kV2 = R"("sym":false,"desc_act":false,"checkpoint_format":"gptq_v2")";

class GptqTest : public testing::Test {
 protected:
  Checkpoint Open(const HandFolder& hand) const {
    hand.WriteTo(folder_);
    return OpenCheckpoint(folder_.path());
  }
  void ExpectWeights(const Hand& hand, const HandFolder& files, const std::string& grid) const {
    const Checkpoint checkpoint = Open(files);
    EXPECT_EQ(checkpoint.container, "gptq");
    const Tensor& tensor = checkpoint.Get("w.weight");
    EXPECT_EQ(tensor.grid->name, grid);
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{hand.out, hand.in}));
    EXPECT_TRUE(Decode(tensor) == hand.Weights());
  }

  TempFolder folder_;
};

TEST_F(GptqTest, ReadsEveryWidthWhereverTheZerosBegin) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const int out : {8, 64, 75, 130}) {
      SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(out) + " outputs");
      const Hand hand(96, out, bits, 32, false);
      const std::string grid = "int" + std::to_string(bits) + ":g32:asym";
      ExpectWeights(hand, hand.Folder(Same, kV2), grid);
      if (std::ranges::count(hand.zeros, 0) == 0) {
        ExpectWeights(hand, hand.Folder(LessOne, kV1), grid);
      }
    }
  }
}

// GPTQModel subtracts 1 in every field from whole words: 0 - 1 borrows from the next field. For 3
// bits, whose fields cross words, it subtracts field by field.
TEST_F(GptqTest, ZerosOfZeroBorrow) {
  for (const int bits : {2, 4, 8}) {
    Hand hand(64, 64, bits, 64, false);
    for (size_t at = 0; at < hand.zeros.size(); at += 3) hand.zeros[at] = 0;
    HandFolder files = hand.Folder(Same, kV1);
    std::string& words = files.tensors["w.qzeros"].data;
    uint32_t ones = 0;
    for (int at = 0; at < 32; at += bits) ones |= 1u << at;
    for (size_t at = 0; at < words.size(); at += 4) {
      StoreLe(words.data() + at, LoadLe<uint32_t>(words.data() + at) - ones);
    }
    ExpectWeights(hand, files, "int" + std::to_string(bits) + ":g64:asym");
  }
  Hand hand(64, 64, 3, 64, false);
  hand.zeros[5] = 0;
  ExpectWeights(hand, hand.Folder([](int zero) { return (zero - 1) & 7; }, kV1), "int3:g64:asym");
}

TEST_F(GptqTest, ReadsActOrder) {
  for (const int bits : {2, 3, 4, 8}) {
    Hand hand(128, 24, bits, 32, true);
    std::ranges::shuffle(hand.group_of, std::mt19937(1));
    const HandFolder files = hand.Folder(LessOne, R"("sym":true,"desc_act":true)");
    ExpectWeights(hand, files, "int" + std::to_string(bits) + ":g32");
    const Checkpoint checkpoint = OpenCheckpoint(folder_.path());
    const Tensor& tensor = checkpoint.Get("w.weight");
    ASSERT_NE(tensor.order, nullptr);
    EXPECT_TRUE(std::ranges::is_sorted(*tensor.order, {},
                                       [&](int32_t i) { return std::pair(hand.group_of[i], i); }));
    // Any rows alone are what they are among all.
    const Tensor all = Loaded(tensor);
    for (const auto& [begin, end] : {std::pair{3, 5}, {23, 24}, {0, 24}}) {
      std::vector<uint8_t> some(static_cast<size_t>(end - begin) * tensor.row_bytes());
      tensor.source->Read(begin, end, some.data());
      EXPECT_TRUE(
          std::ranges::equal(some, all.data.subspan(begin * tensor.row_bytes(), some.size())));
    }
  }
}

// Nothing that blocks of one size could hold: f16 numbers, which the products are.
TEST_F(GptqTest, UnevenGroupsBecomePlainNumbers) {
  Hand uneven(64, 16, 4, 32, true);
  uneven.group_of[63] = 0;
  ExpectWeights(uneven, uneven.Folder(LessOne, R"("sym":true,"desc_act":true)"), "f16");
  const Hand last_short(80, 16, 4, 32, false);
  ExpectWeights(last_short, last_short.Folder(Same, kV2), "f16");
  const Hand odd(60, 16, 3, 12, false);
  ExpectWeights(odd, odd.Folder(Same, kV2), "f16");
  Hand odd_order(60, 16, 3, 12, true);
  std::ranges::shuffle(odd_order.group_of, std::mt19937(1));
  ExpectWeights(odd_order, odd_order.Folder(LessOne, R"("sym":true,"desc_act":true)"), "f16");
}

TEST_F(GptqTest, GroupsMayBeWholeRows) {
  const Hand hand(96, 16, 4, 96, true);
  HandFolder files = hand.Folder(LessOne, "\"sym\":true");
  ExpectWeights(hand, files, "int4:g96");
  files.config.replace(files.config.find("96"), 2, "-1");
  ExpectWeights(hand, files, "int4:row");
  files.tensors.erase("w.g_idx");
  ExpectWeights(hand, files, "int4:row");
  // Larger than the row.
  files.config.replace(files.config.find("-1"), 2, "1024");
  ExpectWeights(hand, files, "int4:g96");
}

// The products are rounded to the scales' type.
TEST_F(GptqTest, ReadsScalesOfOtherTypes) {
  const Hand hand(64, 16, 4, 32, true);
  const Hand& h = hand;
  for (const bool f32 : {false, true}) {
    HandFolder files = hand.Folder(LessOne, "\"sym\":true");
    std::vector<uint16_t> halves;
    for (const float scale : h.scales) halves.push_back(F32ToBf16(scale));
    files.tensors["w.scales"] = f32 ? HandTensor{"F32", {2, 16}, BytesOf(h.scales)}
                                    : HandTensor{"BF16", {2, 16}, BytesOf(halves)};
    const Checkpoint checkpoint = Open(files);
    const Tensor& tensor = checkpoint.Get("w.weight");
    EXPECT_EQ(tensor.grid->name, f32 ? "int4:g32:f32" : "int4:g32:bf16");
    const std::vector<float> values = Decode(tensor);
    for (int o = 0; o < h.out; ++o) {
      for (int i = 0; i < h.in; ++i) {
        const int g = h.group_of[i] * h.out + o;
        const float q = static_cast<float>(h.codes[o * h.in + i] - 8);
        const float value = f32 ? q * h.scales[g] : Bf16ToF32(F32ToBf16(q * Bf16ToF32(halves[g])));
        ASSERT_EQ(values[o * h.in + i], value) << o << ", " << i;
      }
    }
  }
}

// ---- Labels ----

TEST_F(GptqTest, SymmetricZerosTellTheirFormatThemselves) {
  const Hand hand(64, 40, 4, 32, true);
  for (const std::string format : {"gptq", "gptq_v2"}) {
    const std::string label = R"("sym":true,"checkpoint_format":")" + format + "\"";
    ExpectWeights(hand, hand.Folder(Same, label), "int4:g32");
    ExpectWeights(hand, hand.Folder(LessOne, label), "int4:g32");
  }
  // "sym" is said of zeros that differ: they count.
  const Hand other(64, 40, 4, 32, false);
  ExpectWeights(other, other.Folder(Same, R"("sym":true,"format":"gptq_v2")"), "int4:g32:asym");
}

TEST_F(GptqTest, CodesContradictAWrongLabel) {
  for (const int bits : {2, 3, 4}) {
    Hand hand(128, 1024, bits, 32, false);
    for (int& zero : hand.zeros) zero = std::max(zero, 1);  // either format can say it
    for (int o = 0; o < hand.out; ++o) {
      for (int i = 0; i < hand.in; ++i) {  // one more or less: zero on average
        const int zero = hand.zeros[hand.group_of[i] * hand.out + o];
        hand.codes[o * hand.in + i] = zero == (1 << bits) - 1 ? zero : zero - 1 + (o + i) % 3;
      }
    }
    for (const char* label : {kV1, kV2}) {
      SCOPED_TRACE(std::to_string(bits) + label);
      const std::string grid = "int" + std::to_string(bits) + ":g32:asym";
      ExpectWeights(hand, hand.Folder(Same, label), grid);
      ExpectWeights(hand, hand.Folder(LessOne, label), grid);
    }
  }
}

// Steps of 8 bits are small against the mean of some weights, so the label stays right.
TEST_F(GptqTest, LabelsOfEightBitsAreBelieved) {
  Hand hand(128, 1024, 8, 32, false);
  for (int& code : hand.codes) code = std::min(code + 1, 255);
  ExpectWeights(hand, hand.Folder(Same, kV2), "int8:g32:asym");
}

// ---- Settings ----

TEST_F(GptqTest, SettingsMayLieBesideTheWeights) {
  const Hand hand(64, 16, 4, 32, true);
  HandFolder files = hand.Folder(LessOne, "\"sym\":true");
  const std::string settings =
      R"({"bits":4,"group_size":32,"damp_percent":0.01,"desc_act":false,"sym":true})";
  files.config = "{}";
  folder_.Write("quantize_config.json", settings);
  ExpectWeights(hand, files, "int4:g32");
  // AutoGPTQ's older file name, and that file alone.
  fs::rename(folder_.path() / "model.safetensors",
             folder_.path() / "gptq_model-4bit-32g.safetensors");
  for (const fs::path& path :
       {folder_.path(), folder_.path() / "gptq_model-4bit-32g.safetensors"}) {
    const Checkpoint checkpoint = OpenCheckpoint(path);
    EXPECT_EQ(checkpoint.container, "gptq");
    EXPECT_TRUE(Decode(checkpoint.Get("w.weight")) == hand.Weights());
  }
}

TEST_F(GptqTest, ShapesSayWhatNoSettingsSay) {
  const Hand hand(64, 32, 3, 32, true);
  HandFolder files = hand.Folder(LessOne, "");
  files.config = "{}";
  ExpectWeights(hand, files, "int3:g32");
}

TEST_F(GptqTest, LayersMayDifferWhereSettingsSaySo) {
  const Hand hand(64, 32, 8, 64, true);
  const HandFolder files = hand.Folder(LessOne, R"("sym":true,"dynamic":{"x":{}})");
  HandFolder other = files;
  other.config.replace(other.config.find(":8"), 2, ":4");
  other.config.replace(other.config.find(":64"), 3, ":32");
  ExpectWeights(hand, other, "int8:g64");
  other.config.replace(other.config.find("dynamic"), 7, "unknown");
  ExpectError(Kind::kFormat, "do not fit 4 bits", [&] { Open(other); });
}

TEST_F(GptqTest, GroupsOfZerosAreNoOrder) {
  const Hand hand(64, 16, 4, 32, true);
  HandFolder files = hand.Folder(LessOne, "\"sym\":true");
  files.tensors["w.g_idx"].data = BytesOf(std::vector<int>(64));
  ExpectWeights(hand, files, "int4:g32");
}

TEST_F(GptqTest, OtherTensorsStayAsTheyAre) {
  const Hand hand(64, 16, 4, 32, true);
  HandFolder files = hand.Folder(LessOne, "\"sym\":true");
  files.tensors["w.bias"] = {"F16", {16}, std::string(32, '\1')};
  files.tensors["norm.weight"] = {"BF16", {4}, std::string(8, '\1')};
  const Checkpoint checkpoint = Open(files);
  EXPECT_EQ(checkpoint.tensors.size(), 3u);
  EXPECT_EQ(checkpoint.Get("w.bias").grid->name, "f16");
  EXPECT_EQ(checkpoint.Get("norm.weight").grid->name, "bf16");
}

TEST_F(GptqTest, LeavesOtherMethodsAlone) {
  const Hand hand(64, 16, 4, 32, true);
  HandFolder files = hand.Folder(LessOne, "");
  files.WriteTo(folder_);
  EXPECT_TRUE(ContainerNamed("gptq").recognize(folder_.path()));
  for (const char* config : {R"({"quantization_config":{"quant_method":"awq"}})",
                             R"({"quantization_config":{"quant_method":7}, "x":)"}) {
    folder_.Write("config.json", config);
    files.tensors.erase("w.g_idx");
    folder_.Write("model.safetensors", files.Safetensors());
    EXPECT_FALSE(ContainerNamed("gptq").recognize(folder_.path())) << config;
  }
}

// ---- What is refused ----

class GptqRefusesTest : public GptqTest {
 protected:
  void Refuses(const std::string& part, const std::function<void(HandFolder&)>& damage,
               Kind kind = Kind::kFormat) const {
    SCOPED_TRACE(part);
    const Hand hand(64, 16, 4, 32, false);
    HandFolder files = hand.Folder(Same, kV2);
    damage(files);
    ExpectError(kind, part, [&] { Open(files); });
    ExpectError(kind, folder_.path().string(), [&] { Open(files); });
  }
  // One setting replaced.
  void RefusesSetting(const std::string& part, const std::string& old, const std::string& now,
                      Kind kind = Kind::kFormat) const {
    Refuses(
        part, [&](HandFolder& f) { f.config.replace(f.config.find(old), old.size(), now); }, kind);
  }
};

TEST_F(GptqRefusesTest, MissingParts) {
  for (const std::string part : {"w.qweight", "w.qzeros", "w.scales"}) {
    Refuses("'" + part + "' is missing", [&](HandFolder& f) { f.tensors.erase(part); });
  }
  Refuses("'w.g_idx' is missing", [](HandFolder& f) {
    f.tensors.erase("w.g_idx");
    f.config.replace(f.config.find("false,\"check"), 5, "true");
  });
  Refuses("twice", [](HandFolder& f) { f.tensors["w.weight"] = {"F16", {1}, "xx"}; });
}

TEST_F(GptqRefusesTest, ShapesThatDisagree) {
  const auto zeros = [](size_t n) { return std::string(n, '\0'); };
  Refuses("'w.qweight'", [&](HandFolder& f) {
    f.tensors["w.qweight"] = {"I32", {7, 16}, zeros(448)};
  });
  Refuses("must be F16 [2, 8]", [&](HandFolder& f) {
    f.tensors["w.qweight"] = {"I32", {8, 8}, zeros(256)};
  });
  Refuses("matrix", [&](HandFolder& f) { f.tensors["w.qweight"] = {"I32", {128}, zeros(512)}; });
  Refuses("I32", [&](HandFolder& f) { f.tensors["w.qweight"] = {"I64", {8, 16}, zeros(1024)}; });
  Refuses("'w.qzeros'", [&](HandFolder& f) { f.tensors["w.qzeros"] = {"I32", {1, 2}, zeros(8)}; });
  Refuses("fit 4 bits", [&](HandFolder& f) { f.tensors["w.qzeros"] = {"I32", {2, 3}, zeros(24)}; });
  Refuses("I32", [&](HandFolder& f) { f.tensors["w.qzeros"] = {"F32", {2, 2}, zeros(16)}; });
  Refuses("must be I32 [3, 2]", [&](HandFolder& f) {
    f.tensors["w.scales"] = {"F16", {3, 16}, zeros(96)};
  });
  Refuses("must be I32 [0, 2]", [&](HandFolder& f) {
    f.tensors["w.scales"] = {"F16", {0, 16}, ""};
  });
  Refuses("'w.scales'", [&](HandFolder& f) { f.tensors["w.scales"] = {"F16", {2, 8}, zeros(32)}; });
  Refuses("must be F16", [&](HandFolder& f) {
    f.tensors["w.scales"] = {"U8", {2, 16}, zeros(32)};
  });
  Refuses("the 32 inputs of g_idx", [&](HandFolder& f) {
    f.tensors["w.g_idx"] = {"I32", {32}, zeros(128)};
  });
  Refuses("list", [&](HandFolder& f) { f.tensors["w.g_idx"] = {"I32", {64, 1}, zeros(256)}; });
  Refuses("I32", [&](HandFolder& f) { f.tensors["w.g_idx"] = {"I16", {64}, zeros(128)}; });
  // Without data the extents may be anything.
  constexpr int64_t kHuge = int64_t{1} << 61;
  Refuses("matrix", [&](HandFolder& f) { f.tensors["w.qweight"] = {"I32", {kHuge, 0}, ""}; });
  Refuses("matrix", [&](HandFolder& f) { f.tensors["w.scales"] = {"F16", {0, kHuge}, ""}; });
  Refuses("'w.qweight'", [&](HandFolder& f) {
    f.tensors.erase("w.g_idx");
    f.tensors["w.qweight"] = {"I32", {2147483647, 0}, ""};
    f.tensors["w.qzeros"] = {"I32", {2, 0}, ""};
    f.tensors["w.scales"] = {"F16", {2, 0}, ""};
  });
}

// Nothing is allocated for groups that no input can be in.
TEST_F(GptqRefusesTest, MoreGroupsThanInputs) {
  Refuses("2147483647 groups of 0 inputs", [](HandFolder& f) {
    f.config = R"({"quantization_config":{"quant_method":"gptq"}})";
    f.tensors["w.g_idx"] = {"I32", {0}, ""};
    f.tensors["w.qweight"] = {"I32", {0, 0}, ""};
    f.tensors["w.qzeros"] = {"I32", {2147483647, 0}, ""};
    f.tensors["w.scales"] = {"F16", {2147483647, 0}, ""};
  });
}

TEST_F(GptqRefusesTest, GroupsOutOfRange) {
  for (const int group : {-1, 2, 2147483647}) {
    Refuses("input 5 is in group " + std::to_string(group) + " of 2",
            [&](HandFolder& f) { StoreLe(f.tensors["w.g_idx"].data.data() + 20, group); });
  }
}

TEST_F(GptqRefusesTest, WrongSettings) {
  RefusesSetting("do not fit 8 bits", "\"bits\":4", "\"bits\":8");
  RefusesSetting("5 bits", "\"bits\":4", "\"bits\":5", Kind::kUnsupported);
  RefusesSetting("-4 bits", "\"bits\":4", "\"bits\":-4", Kind::kUnsupported);
  RefusesSetting("'bits' must be an integer", "\"bits\":4", "\"bits\":4.0");
  RefusesSetting("'bits' must be an integer", "\"bits\":4", "\"bits\":\"4\"");
  RefusesSetting("'bits' must be an integer", "\"bits\":4", "\"bits\":18446744073709551615");
  RefusesSetting("group_size is 0", ":32", ":0");
  RefusesSetting("group_size is -2", ":32", ":-2");
  RefusesSetting("groups of 64 make 1", ":32", ":64");
  RefusesSetting("groups of 4611686018427387904 make 1", ":32", ":4611686018427387904");
  RefusesSetting("groups of 9223372036854775807 make 1", ":32", ":9223372036854775807");
  RefusesSetting("'desc_act' must be true or false", "\"desc_act\":false", "\"desc_act\":0");
  RefusesSetting("'marlin'", "gptq_v2", "marlin", Kind::kUnsupported);
  RefusesSetting("'checkpoint_format' must be a string", "\"gptq_v2\"", "2");
}

// Whatever damage does to header, codes and settings: weights or an Error.
TEST_F(GptqTest, DamagedFilesAreReadOrRefused) {
  // Links to memory: thousands of small files would keep a disk busy.
  const MemoryFile model, settings;
  fs::create_symlink(model.Write(""), folder_.path() / "model.safetensors");
  fs::create_symlink(settings.Write(""), folder_.path() / "config.json");
  std::mt19937 random(20261123);
  int opened = 0;
  constexpr int kRuns = 2000;
  for (const HandFolder& files :
       std::vector<HandFolder>{Hand(64, 16, 4, 32, false).Folder(Same, kV2),
                               Hand(32, 8, 3, 32, true).Folder(LessOne, "")}) {
    const std::string whole = files.Safetensors();
    for (int run = 0; run < kRuns; ++run) {
      std::string weights = whole, config = files.config;
      Damage(run % 4 == 0 ? config : weights, random);
      model.Write(weights);
      settings.Write(config);
      opened += !Caught([&] {
        const Checkpoint checkpoint = ContainerNamed("gptq").open(folder_.path());
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

TEST_F(GptqTest, WritesSettingsThatReadersKnow) {
  const Grid& common = *FindGrid("int4:g32");
  const Grid& wide = *FindGrid("int8:g64");
  const Grid& plain = *FindGridByGgufType(1);
  CheckpointPlan plan;
  plan.documents = {{"config.json", R"({"a":1,"quantization_config":{"quant_method":"old"}})"}};
  plan.tensors = {{"model.layers.0.q_proj.weight", &common, {32, 64}},
                  {"model.layers.0.k_proj.weight", &common, {32, 64}},
                  {"model.layers.0.v_proj.weight", &wide, {32, 64}},
                  {"model.layers.0.o_proj.weight", &plain, {32, 64}},
                  {"model.layers.0.o_proj.bias", &plain, {32}},
                  {"model.embed_tokens.weight", &plain, {32, 64}},
                  {"lm_head.weight", &common, {32, 64}}};
  const auto writer = ContainerNamed("gptq").create(folder_.path() / "out", plan);
  for (const TensorPlan& t : plan.tensors) writer->Append(std::vector<uint8_t>(t.bytes()));
  writer->Commit();
  const fs::path out = folder_.path() / "out";
  const Json settings = ParseJson(ReadBytes(out / "quantize_config.json"), "");
  const Json config = ParseJson(ReadBytes(out / "config.json"), "");
  EXPECT_EQ(config["a"], 1);
  EXPECT_EQ(config["quantization_config"], settings);
  Json expected = {{"bits", 4},
                   {"group_size", 32},
                   {"desc_act", false},
                   {"sym", true},
                   {"lm_head", true},
                   {"quant_method", "gptq"},
                   {"method", "gptq"},
                   {"checkpoint_format", "gptq"},
                   {"format", "gptq"},
                   {"pack_dtype", "int32"},
                   {"meta", settings["meta"]}};
  expected["dynamic"] = {{"+:^model\\.layers\\.0\\.v_proj$", {{"bits", 8}, {"group_size", 64}}},
                         {"-:^model\\.layers\\.0\\.o_proj$", Json::object()}};
  EXPECT_EQ(settings, expected);
  const Checkpoint checkpoint = OpenCheckpoint(out);
  EXPECT_EQ(checkpoint.Get("model.layers.0.v_proj.weight").grid, &wide);
}

TEST_F(GptqTest, RefusesToWriteWhatTheFormatCannotHold) {
  const Grid& grid = *FindGrid("int4:g32");
  const auto refuses = [&](const std::string& part, TensorPlan tensor) {
    CheckpointPlan plan;
    plan.tensors = {std::move(tensor)};
    ExpectError(Kind::kUsage, part,
                [&] { ContainerNamed("gptq").create(folder_.path() / "out", plan); });
    ExpectError(Kind::kUsage, part, [&] { ContainerNamed("gptq").file_bytes(plan); });
  };
  refuses("not this one", {"w.weight", &grid, {2, 8, 32}});
  refuses("not this one", {"w.weight", &grid, {32}});
  refuses("not this one", {"w", &grid, {8, 32}});
  refuses("48 columns", {"w.weight", &grid, {8, 48}});
  refuses("cannot hold grid 'nf4:g64'", {"w.weight", FindGrid("nf4:g64"), {8, 64}});
  refuses("cannot hold grid", {"w.weight", FindGrid("int4:g32:bf16"), {8, 64}});
  refuses("no dtype", {"w.weight", FindGridByGgufType(8), {8, 64}});
  refuses("1 of 32 columns",
          {"w.weight", &grid, {8, 32}, std::make_shared<const std::vector<int32_t>>(1)});
}

}  // namespace
}  // namespace halftone
