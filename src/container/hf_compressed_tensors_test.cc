// Weights that versions of compressed-tensors compressed themselves, in every layout it ever wrote
// (testdata/make_ct_golden.py), and folders laid out by hand that are refused. Whole checkpoints:
// tests/conformance/peer_weights_test.cc.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/json.h"
#include "container/container.h"
#include "container/safetensors_file.h"
#include "grid/grouped.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/hf_folder.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

std::string ConfigWith(const std::string& weights, const std::string& more = "") {
  return R"({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": )"
         R"({"group_0": {"targets": ["Linear"], "weights": )" +
         weights + "}}" + more + "}}";
}

Checkpoint Open(const HandFolder& folder) {
  const TempFolder temp;
  folder.WriteTo(temp);
  return OpenCheckpoint(temp.path());
}

// ---- What compressed-tensors wrote ----

std::string Text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Golden {
  std::string name;
  HandFolder folder;
  HandTensor expected;
};

std::vector<Golden> ReadGolden() {
  std::vector<Golden> cases;
  for (const char* version : {"new", "old"}) {
    const SafetensorsFile file =
        ReadSafetensors(SourcePath("src/container/testdata/ct_golden_") + version + ".safetensors");
    for (const auto& [name, scheme] : file.metadata) {
      Golden golden{.name = name, .folder = {}, .expected = {}};
      golden.folder.config = ConfigWith(scheme);
      for (const SafetensorsTensor& tensor : file.tensors) {
        if (!tensor.name.starts_with(name + ".")) continue;
        HandTensor hand{std::string(tensor.dtype->name), tensor.shape, Text(tensor.data)};
        if (tensor.name.ends_with(".expected")) {
          golden.expected = hand;
        } else {
          golden.folder.tensors[tensor.name] = hand;
        }
      }
      cases.push_back(std::move(golden));
    }
  }
  return cases;
}

std::vector<float> Numbers(const HandTensor& tensor) {
  const Real real = tensor.dtype == "F32"   ? Real::kF32
                    : tensor.dtype == "F16" ? Real::kF16
                                            : Real::kBf16;
  std::vector<float> values;
  for (size_t at = 0; at < tensor.data.size(); at += static_cast<size_t>(ScaleBytes(real))) {
    values.push_back(LoadReal(real, tensor.data.data() + at));
  }
  return values;
}

const std::map<std::string, std::string> kGrids = {{"dense1", "int2:g32:bf16"},
                                                   {"dense3", "int3:g32:bf16"},
                                                   {"dense5", "int8:g32:bf16"},
                                                   {"dense4asym", "int4:g32:asym:bf16"},
                                                   {"dense8asym", "int8:g32:asym:bf16"},
                                                   {"channel4asym", "int4:row:asym:bf16"},
                                                   {"tensor4asym", "int4:row:asym:bf16"},
                                                   {"half4", "int4:g32"},
                                                   {"float4", "int4:g32:f32"},
                                                   {"group4of4", "bf16"},
                                                   {"int8asym", "int8:row:asym:bf16"},
                                                   {"int8tensor", "int8:row:bf16"},
                                                   {"int4bytes", "int8:g32:bf16"},
                                                   {"fp8tensor", "fp8:row:bf16"},
                                                   {"fp8block", "fp8:g16:bf16"},
                                                   {"fp8oddblock", "bf16"},
                                                   {"mxfp8", "fp8:g32:bf16"},
                                                   {"words3", "int3:g32:bf16"},
                                                   {"words7asym", "int8:g32:asym:bf16"},
                                                   {"actorder", "int4:g32:bf16"},
                                                   {"noorder", "int4:g32:bf16"}};

TEST(HfCompressedTensorsTest, DecodesEveryLayout) {
  int cases = 0;
  for (const Golden& golden : ReadGolden()) {
    SCOPED_TRACE(golden.name);
    const Checkpoint checkpoint = Open(golden.folder);
    EXPECT_EQ(checkpoint.container, "compressed-tensors");
    ASSERT_EQ(checkpoint.tensors.size(), 1u);
    const Tensor& tensor = checkpoint.Get(golden.name + ".weight");
    EXPECT_EQ(tensor.shape, golden.expected.shape);
    EXPECT_EQ(tensor.order != nullptr, golden.name.starts_with("actorder"));
    const auto grid = kGrids.find(golden.name);
    if (grid != kGrids.end()) {
      EXPECT_EQ(tensor.grid->name, grid->second);
    }
    const auto values = Decode(tensor), expected = Numbers(golden.expected);
    ASSERT_EQ(values.size(), expected.size());
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), 4 * values.size()), 0);
    ++cases;
  }
  EXPECT_EQ(cases, 45);
}

Golden GoldenCase(const std::string& name) {
  for (Golden& golden : ReadGolden()) {
    if (golden.name == name) return golden;
  }
  ADD_FAILURE() << "no case " << name;
  return {};
}

// Groups of unequal size fit no blocks, but every product is a bf16 number.
TEST(HfCompressedTensorsTest, UnevenGroupsBecomePlainNumbers) {
  Golden golden = GoldenCase("dense4");
  std::vector<int32_t> groups(64, 0);
  groups[7] = 1;
  golden.folder.tensors["dense4.weight_g_idx"] = {"I32", {64}, BytesOf(groups)};
  const Tensor tensor = Open(golden.folder).Get("dense4.weight");
  EXPECT_EQ(tensor.grid->name, "bf16");
  const auto values = Decode(tensor);
  const auto scales = Numbers(golden.folder.tensors["dense4.weight_scale"]);
  const std::string& packed = golden.folder.tensors["dense4.weight_packed"].data;
  for (int r = 0; r < 12; ++r) {
    for (int c = 0; c < 64; ++c) {
      const int code = static_cast<uint8_t>(packed[r * 32 + c / 2]) >> (c % 2 * 4) & 15;
      const float product = static_cast<float>(code - 8) * scales[r * 2 + groups[c]];
      ASSERT_EQ(values[r * 64 + c], Bf16ToF32(F32ToBf16(product))) << r << ' ' << c;
    }
  }
}

// Two schemes in one checkpoint: each weight's tensors say which is its own.
TEST(HfCompressedTensorsTest, GroupsOfModules) {
  HandFolder both = GoldenCase("dense4asym").folder;
  const Golden fp8 = GoldenCase("fp8block");
  both.tensors.insert(fp8.folder.tensors.begin(), fp8.folder.tensors.end());
  both.tensors["lm_head.weight"] = {"BF16", {1, 2}, "abcd"};
  both.tensors["fp8block.input_scale"] = {"F32", {1}, "abcd"};
  Json config = ParseJson(both.config, "config");
  const Json other = ParseJson(fp8.folder.config, "config");
  Json& groups = config["quantization_config"]["config_groups"];
  groups["group_1"] = other["quantization_config"]["config_groups"]["group_0"];
  groups["group_1"]["format"] = "float-quantized";
  groups["kv_cache"] = Json::parse(R"({"targets": ["re:.*k_proj"], "weights": null})");
  config["quantization_config"]["format"] = "mixed-precision";
  both.config = config.dump();
  const Checkpoint checkpoint = Open(both);
  EXPECT_EQ(checkpoint.tensors.size(), 3u);  // input_scale is about activations
  EXPECT_EQ(checkpoint.Get("dense4asym.weight").grid->name, "int4:g32:asym:bf16");
  EXPECT_EQ(checkpoint.Get("fp8block.weight").grid->name, "fp8:g16:bf16");
  EXPECT_EQ(checkpoint.Get("lm_head.weight").grid->name, "bf16");
}

TEST(HfCompressedTensorsTest, ZeroPointsOfSymmetricSchemesMustBeZero) {
  Golden golden = GoldenCase("int8tensor");
  golden.folder.tensors["int8tensor.weight_zero_point"] = {"I8", {1}, std::string(1, '\0')};
  EXPECT_EQ(Decode(Open(golden.folder).Get("int8tensor.weight")), Numbers(golden.expected));
  golden.folder.tensors["int8tensor.weight_zero_point"].data = "\1";
  ExpectError(Kind::kFormat, "is not zero", [&] { Open(golden.folder); });
}

// ---- What is refused ----

struct Broken {
  const char* part;
  std::function<void(HandFolder&)> damage;
  Kind kind = Kind::kFormat;
};

void ExpectRefusals(const std::string& golden, const std::vector<Broken>& cases) {
  const HandFolder good = GoldenCase(golden).folder;
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

std::function<void(HandFolder&)> With(const std::string& name, const std::string& dtype,
                                      std::vector<int64_t> shape, std::string data) {
  return [=](HandFolder& folder) { folder.tensors[name] = {dtype, shape, data}; };
}

std::function<void(HandFolder&)> Scheme(const std::string& weights, const std::string& more = "") {
  return [=](HandFolder& folder) { folder.config = ConfigWith(weights, more); };
}

TEST(HfCompressedTensorsTest, RefusesMissingAndWrongParts) {
  ExpectRefusals(
      "dense4asym",
      {{"'dense4asym.weight_scale' is missing", Without("dense4asym.weight_scale")},
       {"'dense4asym.weight_shape' is missing", Without("dense4asym.weight_shape")},
       {"'dense4asym.weight_zero_point' is missing", Without("dense4asym.weight_zero_point")},
       {"is BF16 [12, 1], must be BF16 or F16 or F32 [12, 2]",
        With("dense4asym.weight_scale", "BF16", {12, 1}, std::string(24, 'x'))},
       {"is I32 [12, 2], must be BF16",
        With("dense4asym.weight_scale", "I32", {12, 2}, std::string(96, 'x'))},
       {"is I32 [2, 1], must be I32 [2, 2]",
        With("dense4asym.weight_zero_point", "I32", {2, 1}, std::string(8, 'x'))},
       {"is I8 [12, 2], must be I32 [2, 2]",
        With("dense4asym.weight_zero_point", "I8", {12, 2}, std::string(24, 'x'))},
       {"is [13, 64], but",
        With("dense4asym.weight_shape", "I64", {2}, BytesOf(std::vector<int64_t>{13, 64}))},
       {"is [12, -64]",
        With("dense4asym.weight_shape", "I64", {2}, BytesOf(std::vector<int64_t>{12, -64}))},
       {"has 8 words a row, but 72 weights of 4 bits (group_0) need 9",
        With("dense4asym.weight_shape", "I64", {2}, BytesOf(std::vector<int64_t>{12, 72}))},
       {"is too large",
        With("dense4asym.weight_shape", "I64", {2}, BytesOf(std::vector<int64_t>{12, INT64_MAX}))},
       {"must be I64 or I32 [2]", With("dense4asym.weight_shape", "I64", {1}, "12345678")},
       {"has no columns",
        With("dense4asym.weight_shape", "I64", {2}, BytesOf(std::vector<int64_t>{12, 0})),
        Kind::kUnsupported},
       {"only matrices", With("dense4asym.weight_packed", "I32", {3, 4, 8}, std::string(384, 'x')),
        Kind::kUnsupported},
       {"must be I32 [64]", With("dense4asym.weight_g_idx", "I32", {1}, "abcd")},
       {"names group 2 of 2",
        With("dense4asym.weight_g_idx", "I32", {64}, BytesOf(std::vector<int32_t>(64, 2)))},
       {"names group -2 of 2",
        With("dense4asym.weight_g_idx", "I32", {64}, BytesOf(std::vector<int32_t>(64, -2)))}});
  ExpectRefusals(
      "fp8tensor",
      {{"'fp8tensor.weight_scale' is missing", Without("fp8tensor.weight_scale")},
       {"must be BF16 or F16 or F32 or U8 [1]",
        With("fp8tensor.weight_scale", "BF16", {2}, "abcd")},
       {"has a scale but is not compressed",
        With("fp8tensor.weight", "BF16", {12, 64}, std::string(1536, 'x')), Kind::kUnsupported},
       {"which does not hold floats of 8 bits",
        With("fp8tensor.weight", "I8", {12, 64}, std::string(768, 'x'))}});
  ExpectRefusals("int8tensor",
                 {{"'int8tensor.weight_scale' is missing", Without("int8tensor.weight_scale")}});
}

TEST(HfCompressedTensorsTest, RefusesFourBitFloatsWithoutTheirScales) {
  HandFolder folder;
  folder.config = ConfigWith(
      R"({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16})");
  folder.tensors["a.weight_packed"] = {"U8", {1, 8}, "abcdefgh"};
  folder.tensors["a.weight_scale"] = {"F8_E4M3", {1, 1}, "8"};  // 1
  ExpectError(Kind::kFormat, "'a.weight_global_scale' is missing", [&] { Open(folder); });
  folder.tensors["a.weight_global_scale"] = {"F32", {1}, BytesOf(std::vector<float>{2})};
  // 'a' is 0x61: codes 1 and 6, levels 0.5 and 4, halved.
  const auto values = Decode(Open(folder).Get("a.weight"));
  EXPECT_EQ(values[0], 0.25f);
  EXPECT_EQ(values[1], 2);
  folder.tensors["a.weight_global_scale"].shape = {};
  ExpectError(Kind::kFormat, "is F32 [], must be F32 [1]", [&] { Open(folder); });
}

TEST(HfCompressedTensorsTest, RefusesConfigurations) {
  const Kind other = Kind::kUnsupported;
  const std::string good = R"({"num_bits": 4, "symmetric": false, "group_size": 32})";
  ExpectRefusals(
      "dense4asym",
      {{"8 words a row, but 64 weights of 8 bits (group_0) need 16",
        Scheme(R"({"num_bits": 8, "symmetric": false, "group_size": 32})")},
       {"'num_bits' is 0", Scheme(R"({"num_bits": 0, "group_size": 32})")},
       {"'num_bits' is 9", Scheme(R"({"num_bits": 9, "group_size": 32})")},
       {"'num_bits' is 18446744073709551615", Scheme(R"({"num_bits": 18446744073709551615})")},
       {"'num_bits' is 4.0", Scheme(R"({"num_bits": 4.0})")},
       {"'group_size' must be positive", Scheme(R"({"strategy": "group", "group_size": 0})")},
       {"'group_size' must be positive", Scheme(R"({"strategy": "group", "group_size": -1})")},
       {"'group_size' is -2", Scheme(R"({"group_size": -2})")},
       {"64 columns are no multiple of the group size 48",
        Scheme(R"({"num_bits": 4, "symmetric": false, "group_size": 48})")},
       {"no multiple of the group size 1099511627776",
        Scheme(R"({"num_bits": 4, "symmetric": false, "group_size": 1099511627776})")},
       {"strategy 'token'", Scheme(R"({"strategy": "token"})"), other},
       {"'strategy' must be a string", Scheme(R"({"strategy": 1})")},
       {"'symmetric' must be true or false", Scheme(R"({"symmetric": 1})")},
       {"type 'complex'", Scheme(R"({"type": "complex"})"), other},
       {"floats of 6 bits", Scheme(R"({"type": "float", "num_bits": 6})"), other},
       {"floats with zero points", Scheme(R"({"type": "float", "symmetric": false})"), other},
       {"'block_structure' must be two extents", Scheme(R"({"strategy": "block"})")},
       {"'block_structure' must be two extents",
        Scheme(R"({"strategy": "block", "block_structure": "128"})")},
       {"'block_structure' is 0", Scheme(R"({"strategy": "block", "block_structure": [0, 1]})")},
       {"which does not hold floats", Scheme(R"({"type": "float", "num_bits": 8})")},
       {"weights must be an object", Scheme("3")},
       {"is compressed, but no group of the configuration is", Scheme("null")},
       {"format 'marlin-24' cannot be read", Scheme(good, R"(, "format": "marlin-24")"), other},
       {"'format' must be a string", Scheme(good, R"(, "format": 24)")},
       {"has rotations",
        Scheme(good, R"(, "transform_config": {"config_groups": {"R1": {"type": "hadamard"}}})"),
        other},
       {"sparsity_config: format 'sparse-bitmask'",
        Scheme(good, R"(, "sparsity_config": {"format": "sparse-bitmask"})"), other},
       {"has no 'config_groups'", [](HandFolder& folder) {
          folder.config = R"({"quantization_config": {"quant_method": "compressed-tensors"}})";
        }}});
}

// 7 bits in old files are packed as 8 are; nothing but the class of the module could decide.
TEST(HfCompressedTensorsTest, RefusesWhatMayBeEither) {
  HandFolder folder = GoldenCase("words7").folder;
  Json config = ParseJson(folder.config, "config");
  Json& groups = config["quantization_config"]["config_groups"];
  groups["group_1"] = groups["group_0"];
  groups["group_1"]["weights"]["num_bits"] = 8;
  folder.config = config.dump();
  ExpectError(Kind::kUnsupported, "may be of 7 or of 8 bits", [&] { Open(folder); });
}

TEST(HfCompressedTensorsTest, RecognizesByTheConfiguration) {
  const Container& container = ContainerNamed("compressed-tensors");
  const TempFolder temp;
  HandFolder folder = GoldenCase("dense4").folder;
  folder.WriteTo(temp);
  EXPECT_TRUE(container.recognize(temp.path()));
  // As it was called before.
  const size_t at = folder.config.find("quantization_config");
  temp.Write("config.json", folder.config.replace(at, 19, "compression_config"));
  EXPECT_TRUE(container.recognize(temp.path()));
  EXPECT_EQ(Decode(OpenCheckpoint(temp.path()).Get("dense4.weight")).size(), 12u * 64);
  for (const char* config :
       {"{}", "{", R"({"quantization_config": {}})",
        R"({"quantization_config": {"quant_method": ["compressed-tensors"]}})"}) {
    temp.Write("config.json", config);
    EXPECT_FALSE(container.recognize(temp.path())) << config;
  }
}

}  // namespace
}  // namespace halftone
