// Checkpoints of AWQ (AutoAWQ, GPTQModel): docs/formats/awq.md.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "container/container.h"
#include "container/hf_awq_layer.h"
#include "container/hf_awq_writer.h"
#include "container/hf_packed_config.h"

namespace halftone {
namespace {

// Where AutoAWQ keeps the settings besides config.json, and where GPTQModel does.
constexpr std::string_view kSettingsFile = "quant_config.json";
constexpr std::string_view kGptqModelFile = "quantize_config.json";

bool Recognize(const std::filesystem::path& path) {
  std::string method = QuantMethodAt(path, kSettingsFile, "awq");
  if (method.empty()) method = QuantMethodAt(path, kGptqModelFile, "");
  if (!method.empty()) return method == "awq";
  // Without settings: codes, and no groups of inputs, or GPTQ would have recognized it.
  return TensorNamesHold(path, ".qweight\"");
}

AwqSettings ReadSettings(const HfParts& parts) {
  const PackedSettings file(parts, {kSettingsFile, kGptqModelFile});
  const std::string layout = file.Text({"version", "format", "checkpoint_format"}).value_or("gemm");
  if (layout != "gemm" && layout != "gemv") {
    FailUnsupported("{}: AWQ version '{}' is not supported, only gemm and gemv are", file.source(),
                    Printable(layout));
  }
  if (const int64_t bits = file.Integer({"bits", "w_bit"}).value_or(4); bits != 4) {
    FailUnsupported("{}: AWQ of {} bits is not supported, only 4 are", file.source(), bits);
  }
  AwqSettings settings;
  settings.layout = layout == "gemm" ? AwqLayout::kGemm : AwqLayout::kGemv;
  settings.group_size = file.Integer({"group_size", "q_group_size"});
  const int64_t group = settings.group_size.value_or(-1);
  if (group == 0 || group < -1) {
    FailFormat("{}: group_size is {}, must be -1 or positive", file.source(), group);
  }
  return settings;
}

// A layer's zeros whose codes are missing: the weight would silently be none.
void RefuseLonelyZeros(const HfParts& parts) {
  constexpr std::string_view kZeros = ".qzeros";
  for (const SafetensorsTensor& t : parts.tensors()) {
    if (!t.name.ends_with(kZeros)) continue;
    const std::string codes = t.name.substr(0, t.name.size() - kZeros.size()) + ".qweight";
    if (parts.Find(codes) == nullptr) {
      FailFormat("{}: tensor '{}' is missing", parts.path(), Printable(codes));
    }
  }
}

Checkpoint Open(const std::filesystem::path& path) {
  constexpr std::string_view kCodes = ".qweight";
  HfParts parts(OpenPackedFolder(path));
  const AwqSettings settings = ReadSettings(parts);
  RefuseLonelyZeros(parts);
  for (const SafetensorsTensor& t : parts.tensors()) {
    if (!t.name.ends_with(kCodes)) continue;
    const std::string prefix = t.name.substr(0, t.name.size() - kCodes.size());
    parts.Put(t, AwqWeight(ReadAwqLayer(parts, settings, prefix)));
  }
  return parts.Finish("awq");
}

uint64_t FileBytes(const CheckpointPlan& plan) { return HfFolderBytes(plan, LayOutAwq(plan)); }

std::unique_ptr<CheckpointWriter> Create(const std::filesystem::path& path,
                                         const CheckpointPlan& plan) {
  return CreateHfFolder(path, plan, LayOutAwq(plan));
}

}  // namespace

extern const Container kContainer_hf_awq;
constinit const Container kContainer_hf_awq{
    .name = "awq",
    .summary = "AWQ checkpoint (4 bits, layout gemm), a Hugging Face folder",
    .dialect = Dialect::kHuggingFace,
    .recognize = &Recognize,
    .open = &Open,
    .can_store = &CanStoreAwq,
    .file_bytes = &FileBytes,
    .create = &Create,
};

}  // namespace halftone
