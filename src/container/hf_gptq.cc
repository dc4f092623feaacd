// Checkpoints of GPTQ (AutoGPTQ, GPTQModel): docs/formats/gptq.md.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "container/container.h"
#include "container/hf_gptq_layer.h"
#include "container/hf_gptq_rows.h"
#include "container/hf_gptq_writer.h"
#include "container/hf_gptq_zeros.h"
#include "container/hf_packed_config.h"

namespace halftone {
namespace {

// Where AutoGPTQ keeps the settings besides config.json; older checkpoints have them only there.
constexpr std::string_view kSettingsFile = "quantize_config.json";

bool Recognize(const std::filesystem::path& path) {
  const std::string method = QuantMethodAt(path, kSettingsFile, "gptq");
  if (!method.empty()) return method == "gptq";
  return TensorNamesHold(path, ".g_idx\"");
}

GptqSettings ReadSettings(const HfParts& parts) {
  const PackedSettings file(parts, {kSettingsFile});
  GptqSettings settings;
  settings.source = file.source();
  settings.bits = file.Integer({"bits"});
  settings.group_size = file.Integer({"group_size"});
  settings.act_order = file.Flag({"desc_act"}).value_or(false);
  settings.symmetric = file.Flag({"sym"});
  settings.varied = file.Has("dynamic");
  const std::string format = file.Text({"checkpoint_format", "format"}).value_or("gptq");
  if (format != "gptq" && format != "gptq_v2") {
    FailUnsupported("{}: checkpoint format '{}' is not supported, only gptq and gptq_v2 are",
                    settings.source, Printable(format));
  }
  settings.zeros_less_one = format == "gptq";
  const int64_t bits = settings.bits.value_or(4);
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    FailUnsupported("{}: {} bits are not supported, only 2, 3, 4 and 8 are", settings.source, bits);
  }
  const int64_t group = settings.group_size.value_or(-1);
  if (group == 0 || group < -1) {
    FailFormat("{}: group_size is {}, must be -1 or positive", settings.source, group);
  }
  return settings;
}

// A layer's zeros or groups whose codes are missing: the weight would silently be none.
void RefuseLonelyParts(const HfParts& parts) {
  for (const SafetensorsTensor& t : parts.tensors()) {
    for (const std::string_view suffix : {".qzeros", ".g_idx"}) {
      if (!t.name.ends_with(suffix)) continue;
      const std::string codes = t.name.substr(0, t.name.size() - suffix.size()) + ".qweight";
      if (parts.Find(codes) == nullptr) {
        FailFormat("{}: tensor '{}' is missing", parts.path(), Printable(codes));
      }
    }
  }
}

Checkpoint Open(const std::filesystem::path& path) {
  constexpr std::string_view kCodes = ".qweight";
  HfParts parts(OpenPackedFolder(path));
  const GptqSettings settings = ReadSettings(parts);
  RefuseLonelyParts(parts);
  std::vector<const SafetensorsTensor*> codes;
  std::vector<GptqLayer> layers;
  for (const SafetensorsTensor& t : parts.tensors()) {
    if (!t.name.ends_with(kCodes)) continue;
    codes.push_back(&t);
    layers.push_back(
        ReadGptqLayer(parts, settings, t.name.substr(0, t.name.size() - kCodes.size())));
  }
  SettleZeros(settings, layers);
  for (size_t i = 0; i < layers.size(); ++i) {
    parts.Put(*codes[i], GptqWeight(std::move(layers[i])));
  }
  return parts.Finish("gptq");
}

uint64_t FileBytes(const CheckpointPlan& plan) { return HfFolderBytes(plan, LayOutGptq(plan)); }

std::unique_ptr<CheckpointWriter> Create(const std::filesystem::path& path,
                                         const CheckpointPlan& plan) {
  return CreateHfFolder(path, plan, LayOutGptq(plan));
}

}  // namespace

extern const Container kContainer_hf_gptq;
constinit const Container kContainer_hf_gptq{
    .name = "gptq",
    .summary = "GPTQ checkpoint, a Hugging Face folder",
    .dialect = Dialect::kHuggingFace,
    .recognize = &Recognize,
    .open = &Open,
    .can_store = &CanStoreGptq,
    .can_store_order = true,
    .file_bytes = &FileBytes,
    .create = &Create,
};

}  // namespace halftone
