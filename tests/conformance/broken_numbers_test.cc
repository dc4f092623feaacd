// Weights of which some number is NaN or infinite, in every container and on every grid of GGUF:
// whoever runs or rounds them is told, and where. The files are the formats' owners' (shared data),
// with one scale or number overwritten.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "container/container.h"
#include "container/safetensors_file.h"
#include "halftone/evaluate.h"
#include "halftone/model.h"
#include "halftone/quantize.h"
#include "tests/cli/tiny_model.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

// Everything that needs the numbers says that one of them, in that tensor, is none.
void ExpectRefused(const std::string& model, const std::string& role, const fs::path& out) {
  const auto refuses = [&](const auto& run) {
    const auto error = Caught(run);
    ASSERT_TRUE(error) << "accepted";
    const std::string message = error->what();
    EXPECT_EQ(error->kind(), Kind::kFormat) << message;
    EXPECT_NE(message.find("finite"), std::string::npos) << message;
    EXPECT_NE(message.find(role), std::string::npos) << message;
  };
  int64_t vocabulary;
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  {
    SCOPED_TRACE("evaluate");
    refuses([&] { EvaluateLogits(model, tokens, 2, &vocabulary); });
  }
  for (const char* grid : {"q4_0", "q8_0", "q4_k_m"}) {
    SCOPED_TRACE(grid);
    QuantizeOptions options;
    options.grid = grid;
    refuses([&] { Quantize(model, (out / "out.gguf").string(), options); });
  }
  EXPECT_FALSE(fs::exists(out / "out.gguf"));
  fs::remove(out / "out.gguf");
}

struct Number {
  const char* fixture;
  const char* part;     // ends the name of the tensor that holds it
  const char* role;     // is in the message, in either dialect's name
  bool finite = false;  // whether no pattern of the part's type is infinite
};

// The first tensor of layer 0 whose name ends so.
void Break(const fs::path& file, std::string_view part, bool infinite) {
  const SafetensorsFile read = ReadSafetensors(file);
  const auto it = std::ranges::find_if(read.tensors, [&](const SafetensorsTensor& t) {
    return t.name.ends_with(part) && t.name.find("layers.0.") != std::string::npos;
  });
  ASSERT_NE(it, read.tensors.end()) << part;
  const std::string_view dtype = it->dtype->name;
  std::string bytes = dtype == "F16"    ? std::string(infinite ? "\x00\x7C" : "\x00\x7E", 2)
                      : dtype == "BF16" ? std::string(infinite ? "\x80\x7F" : "\xC0\x7F", 2)
                      : dtype == "F32"  ? std::string(infinite ? "\0\0\x80\x7F" : "\0\0\xC0\x7F", 4)
                      : dtype == "U8"   ? "\xFF"  // E8M0
                                        : "\x7F";   // E4M3
  std::string whole = ReadBytes(file);
  const auto at = static_cast<size_t>(it->data.data() - read.mapped->bytes().data());
  whole.replace(at, bytes.size(), bytes);
  fs::remove(file);
  std::ofstream(file, std::ios::binary) << whole;
}

class BrokenNumbersTest : public testing::TestWithParam<Number> {};

TEST_P(BrokenNumbersTest, AreRefused) {
  const Number& number = GetParam();
  const std::string fixture = std::string("fixtures/") + number.fixture;
  HALFTONE_NEED_SHARED(fixture);
  for (const bool infinite : {false, true}) {
    if (infinite && number.finite) continue;
    SCOPED_TRACE(infinite ? "infinite" : "NaN");
    const TempFolder temp;
    const fs::path folder = temp.path() / "model";
    fs::create_directory(folder);
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::ofstream(folder / name, std::ios::binary) << ReadBytes(SharedPath(fixture) / name);
    }
    Break(folder / "model.safetensors", number.part, infinite);
    ExpectRefused(folder.string(), number.role, temp.path());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, BrokenNumbersTest,
    testing::Values(Number{"small-bf16", "q_proj.weight", "q"},
                    Number{"small-bf16", "k_proj.weight", "k"},
                    Number{"small-bf16", "gate_proj.weight", "gate"},
                    Number{"small-bf16", "input_layernorm.weight", "norm"},
                    Number{"tiny-gptq-4bit-g128", "q_proj.scales", "q"},
                    Number{"tiny-gptq-4bit-g128-actorder", "down_proj.scales", "down"},
                    Number{"tiny-gptq-8bit-g128", "gate_proj.scales", "gate"},
                    Number{"tiny-gptq-3bit-g64", "v_proj.scales", "v"},
                    Number{"small-gptq-2bit-g64", "k_proj.scales", "k"},
                    Number{"small-gptq-4bit-g32-asym-v1", "up_proj.scales", "up"},
                    Number{"small-gptq-4bit-g64-asym-v2", "o_proj.scales", "o"},
                    Number{"tiny-awq-gemm-4bit-g128", "gate_proj.scales", "gate"},
                    Number{"small-awq-gemv-4bit-g64", "q_proj.scales", "q"},
                    Number{"tiny-bnb-nf4", "q_proj.weight.absmax", "q"},
                    Number{"tiny-bnb-nf4", "up_proj.weight.quant_map", "up"},
                    Number{"tiny-bnb-fp4", "gate_proj.weight.absmax", "gate"},
                    Number{"tiny-bnb-nf4-dq", "k_proj.weight.nested_absmax", "k"},
                    Number{"tiny-bnb-int8", "v_proj.SCB", "v"},
                    Number{"tiny-ct-pack-quantized", "q_proj.weight_scale", "q"},
                    Number{"small-ct-pack-quantized-asym", "gate_proj.weight_scale", "gate"},
                    Number{"small-ct-int8-w8a8", "k_proj.weight_scale", "k"},
                    Number{"small-ct-fp8-dynamic", "q_proj.weight_scale", "q"},
                    Number{"small-ct-fp8-dynamic", "q_proj.weight", "q", true},
                    Number{"small-ct-nvfp4a16", "q_proj.weight_scale", "q", true},
                    Number{"small-ct-nvfp4a16", "gate_proj.weight_global_scale", "gate"},
                    Number{"small-ct-mxfp4a16", "down_proj.weight_scale", "down", true}),
    [](const auto& info) {
      std::string name = std::string(info.param.fixture) + "_" + info.param.part;
      std::ranges::replace_if(
          name, [](char c) { return c == '-' || c == '.'; }, '_');
      return name;
    });

// ---- Every grid of GGUF ----

// A block of zeros but for one number that is none; empty where a grid cannot have such.
std::vector<uint8_t> BrokenBlock(const Grid& grid) {
  for (const std::string_view pattern :
       {std::string_view("\x00\x7E", 2), {"\x00\x7C", 2}, {"\xFF", 1}}) {
    for (size_t at = 0; at + pattern.size() <= static_cast<size_t>(grid.bytes); ++at) {
      std::vector<uint8_t> block(static_cast<size_t>(grid.bytes));
      std::ranges::copy(pattern, block.begin() + static_cast<std::ptrdiff_t>(at));
      std::vector<float> values(static_cast<size_t>(grid.block));
      grid.Decode(block.data(), grid.block, values.data());
      if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) return block;
    }
  }
  return {};
}

class BrokenBlocksTest : public TinyModelTest {
 protected:
  // The model with one tensor on `grid`, zeros but for its last block.
  std::string WriteBroken(const std::string& tensor, const Grid& grid,
                          const std::vector<uint8_t>& block) const {
    const Checkpoint model = OpenCheckpoint(model_);
    CheckpointPlan plan;
    plan.metadata = model.metadata;
    for (const Tensor& t : model.tensors) {
      plan.tensors.push_back({t.name, t.name == tensor ? &grid : t.grid, t.shape});
    }
    const auto writer = ContainerNamed("gguf").create(Path("broken.gguf"), plan);
    for (const TensorPlan& t : plan.tensors) {
      if (t.name != tensor) {
        writer->Append(model.Get(t.name).data);
        continue;
      }
      std::vector<uint8_t> bytes(t.bytes());
      std::ranges::copy(block, bytes.end() - std::ssize(block));
      writer->Append(bytes);
    }
    writer->Commit();
    return Path("broken.gguf");
  }
};

TEST_F(BrokenBlocksTest, AreRefusedOnEveryGrid) {
  int broken = 0;
  for (const Grid* grid : AllGrids()) {
    const std::vector<uint8_t> block = BrokenBlock(*grid);
    if (block.empty()) continue;
    ++broken;
    for (const char* role : {"attn_q", "attn_k", "ffn_gate", "ffn_down"}) {
      SCOPED_TRACE(std::string(grid->name) + " " + role);
      const std::string file = WriteBroken("blk.0." + std::string(role) + ".weight", *grid, block);
      ExpectRefused(file, role, folder_.path());
      // With rounded activations, as `run` has them.
      ExpectError(Kind::kFormat, role, [&] { Model::Open(file, {})->Logits({1, 2, 3}); });
    }
  }
  EXPECT_GE(broken, 20);
}

// Of what is copied, too: a norm stays in f32 whatever the grid.
TEST_F(BrokenBlocksTest, AreRefusedWhereTensorsAreCopied) {
  std::vector<uint8_t> number = {0, 0, 0x80, 0x7F};
  for (const char* role : {"blk.0.ffn_norm.weight", "output_norm.weight"}) {
    ExpectRefused(WriteBroken(role, F32Grid(), number), role, folder_.path());
  }
}

}  // namespace
}  // namespace halftone
