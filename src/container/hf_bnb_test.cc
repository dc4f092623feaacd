// bitsandbytes' folders laid out by hand: where every code goes, and what is refused. Folders that
// bitsandbytes itself wrote: tests/conformance/bnb_weights_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "container/container.h"
#include "grid/grouped.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/hf_folder.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

constexpr std::string_view kConfig =
    R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})";

// Dettmers et al. 2023, appendix E.
const std::vector<float> kNf4 = {-1.0f,
                                 -0.6961928009986877f,
                                 -0.5250730514526367f,
                                 -0.39491748809814453f,
                                 -0.28444138169288635f,
                                 -0.18477343022823334f,
                                 -0.09105003625154495f,
                                 0.0f,
                                 0.07958029955625534f,
                                 0.16093020141124725f,
                                 0.24611230194568634f,
                                 0.33791524171829224f,
                                 0.44070982933044434f,
                                 0.5626170039176941f,
                                 0.7229568362236023f,
                                 1.0f};

std::vector<uint8_t> RandomBytes(size_t n) {
  std::mt19937 random(static_cast<uint32_t>(n));
  std::vector<uint8_t> bytes(n);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::string StateText(const std::string& shape, const std::string& dtype, bool nested) {
  std::string text =
      R"({"quant_type": "nf4", "blocksize": 64, "dtype": ")" + dtype + R"(", "shape": )" + shape;
  if (nested) {
    text += R"(, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5)";
  }
  return text + "}";
}

HandTensor TextTensor(const std::string& text) {
  return {"U8", {static_cast<int64_t>(text.size())}, text};
}

// A matrix of nf4 with absmax 1, 2, 3 ... (nested: 1/2 + 2 * code / 256).
HandFolder Nf4(int64_t rows, int64_t cols, const std::string& dtype, bool nested = false) {
  const int64_t n = rows * cols, blocks = (n + 63) / 64;
  HandFolder folder;
  folder.config = kConfig;
  folder.tensors["a.weight"] = {"U8", {(n + 1) / 2, 1}, BytesOf(RandomBytes((n + 1) / 2))};
  folder.tensors["a.weight.quant_map"] = {"F32", {16}, BytesOf(kNf4)};
  if (nested) {
    std::vector<float> map;
    for (int code = 0; code < 256; ++code) map.push_back(static_cast<float>(code) / 256);
    folder.tensors["a.weight.nested_quant_map"] = {"F32", {256}, BytesOf(map)};
    folder.tensors["a.weight.nested_absmax"] = {
        "F32", {(blocks + 255) / 256}, BytesOf(std::vector<float>((blocks + 255) / 256, 2.0f))};
    folder.tensors["a.weight.absmax"] = {"U8", {blocks}, BytesOf(RandomBytes(blocks))};
  } else {
    std::vector<float> absmax;
    for (int64_t i = 1; i <= blocks; ++i) absmax.push_back(static_cast<float>(i));
    folder.tensors["a.weight.absmax"] = {"F32", {blocks}, BytesOf(absmax)};
  }
  folder.tensors["a.weight.quant_state.bitsandbytes__nf4"] = TextTensor(
      StateText("[" + std::to_string(rows) + ", " + std::to_string(cols) + "]", dtype, nested));
  return folder;
}

// By the definition: the codes of the flat matrix, high half first.
std::vector<float> ValuesOf(const HandFolder& folder, int64_t n, Real real) {
  std::vector<float> values;
  const std::string& packed = folder.tensors.at("a.weight").data;
  const HandTensor& absmax = folder.tensors.at("a.weight.absmax");
  const std::string& levels = folder.tensors.at("a.weight.quant_map").data;
  for (int64_t i = 0; i < n; ++i) {
    const auto two = static_cast<uint8_t>(packed[i / 2]);
    const int64_t block = i / 64;
    float scale;
    if (absmax.dtype == "U8") {
      scale = static_cast<float>(static_cast<uint8_t>(absmax.data[block])) / 256 * 2 + 0.5f;
    } else {
      scale = static_cast<float>(block + 1);
    }
    const int code = i % 2 == 0 ? two >> 4 : two & 15;
    values.push_back(RoundToReal(real, LoadReal(Real::kF32, levels.data() + 4 * code) * scale));
  }
  return values;
}

Checkpoint Open(const HandFolder& folder) {
  const TempFolder temp;
  folder.WriteTo(temp);
  return OpenCheckpoint(temp.path());
}

void ExpectValues(const HandFolder& folder, int64_t rows, int64_t cols, const char* grid,
                  Real real) {
  const Checkpoint checkpoint = Open(folder);
  EXPECT_EQ(checkpoint.container, "bnb");
  ASSERT_EQ(checkpoint.tensors.size(), 1u);
  const Tensor& tensor = checkpoint.Get("a.weight");
  EXPECT_EQ(tensor.grid->name, grid);
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{rows, cols}));
  EXPECT_EQ(Decode(tensor), ValuesOf(folder, rows * cols, real));
}

TEST(HfBnbTest, BlocksLieInRows) {
  ExpectValues(Nf4(3, 128, "bfloat16"), 3, 128, "nf4:g64", Real::kBf16);
  ExpectValues(Nf4(3, 128, "float16"), 3, 128, "nf4:g64:f32:f16", Real::kF16);
  ExpectValues(Nf4(300, 64, "float32", true), 300, 64, "nf4:g64:dq:f32", Real::kF32);
}

TEST(HfBnbTest, BlocksCrossRows) {
  ExpectValues(Nf4(3, 96, "bfloat16"), 3, 96, "nf4:g32", Real::kBf16);
  ExpectValues(Nf4(5, 40, "bfloat16"), 5, 40, "nf4:g8", Real::kBf16);
  ExpectValues(Nf4(5, 20, "bfloat16"), 5, 20, "bf16", Real::kBf16);
  ExpectValues(Nf4(7, 9, "float16", true), 7, 9, "f16", Real::kF16);  // an odd number of codes
}

TEST(HfBnbTest, LevelsOfTheFileCount) {
  HandFolder folder = Nf4(2, 64, "float32");
  std::vector<float> levels = kNf4;
  levels[3] = -0.4f;
  folder.tensors["a.weight.quant_map"].data = BytesOf(levels);
  ExpectValues(folder, 2, 64, "f32", Real::kF32);
}

TEST(HfBnbTest, StorageMayBeAnyType) {
  HandFolder folder = Nf4(3, 128, "bfloat16");
  folder.tensors["a.weight"].dtype = "BF16";
  folder.tensors["a.weight"].shape = {96, 1};
  ExpectValues(folder, 3, 128, "nf4:g64", Real::kBf16);
}

HandFolder Int8() {
  HandFolder folder;
  folder.config =
      R"({"quantization_config": {"load_in_8bit": true}})";  // as before methods had names
  folder.tensors["a.weight"] = {"I8", {2, 3}, BytesOf(std::vector<int8_t>{1, -127, 0, 127, 5, -3})};
  folder.tensors["a.SCB"] = {"F32", {2}, BytesOf(std::vector<float>{254, 0.5f})};
  folder.tensors["a.weight_format"] = {"U8", {}, std::string(1, '\0')};
  folder.tensors["a.bias"] = {"F16", {2}, std::string(4, '\0')};
  return folder;
}

TEST(HfBnbTest, RowsOfBytes) {
  const Checkpoint checkpoint = Open(Int8());
  EXPECT_EQ(checkpoint.tensors.size(), 2u);
  const Tensor& tensor = checkpoint.Get("a.weight");
  EXPECT_EQ(tensor.grid->name, "int8:row:absmax");
  const auto values = Decode(tensor);
  const std::vector<float> expected = {2, -254, 0, 0.5f, 5 * 0.5f / 127, -3 * 0.5f / 127};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(values[i], expected[i], 1e-6 * std::fabs(values[i]));
  EXPECT_EQ(checkpoint.Get("a.bias").grid->name, "f16");

  HandFolder older = Int8();
  older.tensors.erase("a.weight_format");
  EXPECT_EQ(Decode(Open(older).Get("a.weight")), values);
}

TEST(HfBnbTest, ThresholdOfLargeActivations) {
  EXPECT_FALSE(Open(Nf4(4, 64, "bfloat16")).int8_threshold);
  EXPECT_EQ(Open(Int8()).int8_threshold, 6);  // the documented default of transformers
  for (const auto& [text, threshold] :
       {std::pair{"null", 6.0f}, {"0.0", 0.0f}, {"5", 5.0f}, {"1e300", INFINITY}}) {
    HandFolder folder = Int8();
    folder.config = std::string(R"({"quantization_config": {"load_in_8bit": true,)") +
                    R"("llm_int8_threshold": )" + text + "}}";
    EXPECT_EQ(Open(folder).int8_threshold, threshold) << text;
  }
  for (const char* text : {"-1", "\"6\"", "[6]", "true"}) {
    HandFolder folder = Int8();
    folder.config = std::string(R"({"quantization_config": {"load_in_8bit": true,)") +
                    R"("llm_int8_threshold": )" + text + "}}";
    ExpectError(Kind::kFormat, "'llm_int8_threshold' must be a number", [&] { Open(folder); });
  }
}

// A good folder, what is broken in it, and what the error says.
struct Broken {
  const char* part;
  std::function<void(HandFolder&)> damage;
  Kind kind = Kind::kFormat;
};

void ExpectRefusals(const HandFolder& good, const std::vector<Broken>& cases) {
  Open(good);
  for (const Broken& broken : cases) {
    SCOPED_TRACE(broken.part);
    HandFolder folder = good;
    broken.damage(folder);
    ExpectError(broken.kind, broken.part, [&] { Open(folder); });
  }
}

std::function<void(HandFolder&)> Without(const std::string& name) {
  return [name](HandFolder& folder) { ASSERT_EQ(folder.tensors.erase(name), 1u); };
}

std::function<void(HandFolder&)> With(const std::string& name, HandTensor tensor) {
  return [name, tensor](HandFolder& folder) { folder.tensors[name] = tensor; };
}

std::function<void(HandFolder&)> WithState(const std::string& from, const std::string& to) {
  return [from, to](HandFolder& folder) {
    HandTensor& state = folder.tensors["a.weight.quant_state.bitsandbytes__nf4"];
    const size_t at = state.data.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    state = TextTensor(state.data.replace(at, from.size(), to));
  };
}

TEST(HfBnbTest, RefusesMissingParts) {
  ExpectRefusals(Nf4(300, 64, "bfloat16", true),
                 {{"'a.weight' is missing", Without("a.weight")},
                  {"'a.weight.absmax' is missing", Without("a.weight.absmax")},
                  {"'a.weight.quant_map' is missing", Without("a.weight.quant_map")},
                  {"'a.weight.nested_absmax' is missing", Without("a.weight.nested_absmax")},
                  {"'a.weight.nested_quant_map' is missing", Without("a.weight.nested_quant_map")},
                  // Without it nothing says what the bytes are.
                  {"'a.weight': U8 is neither", Without("a.weight.quant_state.bitsandbytes__nf4"),
                   Kind::kUnsupported}});
  ExpectRefusals(Int8(), {{"'a.weight' is missing", Without("a.weight")},
                          {"'a.SCB' is missing", Without("a.SCB")}});
}

TEST(HfBnbTest, RefusesShapesThatDisagree) {
  ExpectRefusals(
      Nf4(300, 64, "bfloat16", true),
      {{"holds 9599 bytes, but 19200 weights of 4 bits need 9600",
        With("a.weight", {"U8", {9599, 1}, std::string(9599, 'x')})},
       {"'a.weight.absmax': is U8 [299], must be U8 [300]",
        With("a.weight.absmax", {"U8", {299}, std::string(299, 'x')})},
       {"'a.weight.absmax': is F32 [300], must be U8 [300]",
        With("a.weight.absmax", {"F32", {300}, std::string(1200, 'x')})},
       {"must be F32 [2]", With("a.weight.nested_absmax", {"F32", {1}, std::string(4, 'x')})},
       {"must be F32 [256]",
        With("a.weight.nested_quant_map", {"F32", {16}, std::string(64, 'x')})},
       {"must be F32 [16]", With("a.weight.quant_map", {"F16", {16}, std::string(32, 'x')})},
       {"weights of 4 bits need", WithState("[300, 64]", "[300, 65]")},
       {"weights of 4 bits need", WithState("[300, 64]", "[0, 64]")}});
  ExpectRefusals(
      Int8(),
      {{"'a.SCB': is F32 [1], must be F32 [2]", With("a.SCB", {"F32", {1}, std::string(4, 'x')})},
       {"must be a matrix of I8", With("a.weight", {"U8", {2, 3}, std::string(6, 'x')})},
       {"must be a matrix of I8", With("a.weight", {"I8", {6}, std::string(6, 'x')})},
       {"rows of 0 weights", With("a.weight", {"I8", {2, 0}, ""}), Kind::kUnsupported},
       {"must be U8 []", With("a.weight_format", {"U8", {1}, std::string(1, '\0')})},
       {"only rows in their order", With("a.weight_format", {"U8", {}, std::string(1, '\2')}),
        Kind::kUnsupported}});
}

TEST(HfBnbTest, RefusesBrokenStates) {
  const Kind other = Kind::kUnsupported;
  ExpectRefusals(
      Nf4(4, 64, "bfloat16", true),
      {{"not valid JSON", WithState("{", "")},
       {"must hold a JSON object", With("a.weight.quant_state.bitsandbytes__nf4", TextTensor("3"))},
       {"not valid JSON", With("a.weight.quant_state.bitsandbytes__nf4", {"U8", {0}, ""})},
       {"has no 'quant_type'", WithState("quant_type", "quant")},
       {"'quant_type' must be 'nf4'", WithState("\"nf4\"", "\"fp4\"")},
       {"has no 'blocksize'", WithState("\"blocksize\": 64, ", "")},
       {"'blocksize' is 0", WithState("64,", "0,"), other},
       {"'blocksize' is -64", WithState("64,", "-64,"), other},
       {"'blocksize' is 48", WithState("64,", "48,"), other},
       {"'blocksize' is 18446744073709551615", WithState("64,", "18446744073709551615,"), other},
       {"'blocksize' is \"64\"", WithState("64,", "\"64\","), other},
       {"'nested_blocksize' is 1", WithState("256,", "1,"), other},
       {"'dtype' is 'int8'", WithState("bfloat16", "int8"), other},
       {"'dtype' must be a string", WithState("\"bfloat16\"", "16")},
       {"'nested_dtype' must be float32", WithState("float32", "float16"), other},
       {"'nested_offset' must be a number", WithState("0.5", "\"0.5\"")},
       {"has no 'nested_blocksize'", WithState("\"nested_blocksize\": 256, ", "")},
       {"keys that are not known", WithState(", \"nested_offset\": 0.5", ""), other},
       {"keys that are not known", WithState("{", "{\"rotation\": 1, "), other},
       {"'shape' must be a list of extents", WithState("[4, 64]", "256")},
       {"'shape' must be a list of extents", WithState("[4, 64]", "[]")},
       {"'shape' must be a list of extents", WithState("[4, 64]", "[-4, -64]")},
       {"'shape' must be a list of extents", WithState("[4, 64]", "[4.0, 64]")},
       {"'shape' is too large", WithState("[4, 64]", "[9223372036854775807, 64]")},
       {"nf4 or fp4, not 'nf5'",
        [](HandFolder& folder) {
          folder.tensors["a.weight.quant_state.bitsandbytes__nf5"] =
              folder.tensors["a.weight.quant_state.bitsandbytes__nf4"];
        },
        other}});
}

// They may be what somebody wants to look at; whoever computes with them says so.
TEST(HfBnbTest, ScalesThatAreNotFiniteStay) {
  HandFolder folder = Nf4(1, 64, "bfloat16");
  folder.tensors["a.weight.absmax"].data = BytesOf(std::vector<float>{INFINITY});
  const auto values = Decode(Open(folder).Get("a.weight"));
  EXPECT_TRUE(std::ranges::any_of(values, [](float v) { return std::isinf(v); }));
}

TEST(HfBnbTest, RecognizesByTheConfiguration) {
  const Container& container = ContainerNamed("bnb");
  const TempFolder temp;
  HandFolder folder = Nf4(1, 64, "bfloat16");
  folder.WriteTo(temp);
  EXPECT_TRUE(container.recognize(temp.path()));
  EXPECT_TRUE(container.recognize(temp.path() / "model.safetensors"));
  EXPECT_FALSE(container.recognize(temp.path() / "config.json"));
  for (const char* config : {"{}", "{", "[]", "", R"({"quantization_config": 3})",
                             R"({"quantization_config": {"quant_method": "gptq"}})",
                             R"({"quantization_config": {"quant_method": 4}})",
                             R"({"quantization_config": {"load_in_4bit": "yes"}})"}) {
    temp.Write("config.json", config);
    EXPECT_FALSE(container.recognize(temp.path())) << config;
  }
  temp.Write("config.json", R"({"quantization_config": {"load_in_4bit": true}})");
  EXPECT_TRUE(container.recognize(temp.path()));
}

}  // namespace
}  // namespace halftone
