#include "model/file_kind.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace halftone {
namespace {

constexpr FileKind kAdapter{
    "LoRA adapter",
    "it goes beside another model's weights: 'halftone run MODEL --adapter' uses it, 'halftone "
    "merge' puts it into them"};
constexpr FileKind kImatrix{"importance matrix", "it goes to 'halftone quantize --imatrix'"};
constexpr FileKind kProjector{"projector for images or sound (mmproj)",
                              "it goes with a text model, which can be used without it",
                              /*quantizes=*/true};
constexpr FileKind kControlVector{
    "control vector", "it is added to what passes through another model, which is not done here"};
constexpr FileKind kVocabulary{"vocabulary without weights", "'halftone tokenize' uses it"};

bool AnyName(const Checkpoint& checkpoint, bool (*fits)(std::string_view)) {
  return std::ranges::any_of(checkpoint.tensors, [&](const Tensor& t) { return fits(t.name); });
}

const FileKind* OfGguf(const Checkpoint& checkpoint) {
  const auto text = [&](std::string_view key) -> std::string_view {
    const std::string* value = checkpoint.metadata.String(key);
    return value == nullptr ? std::string_view() : *value;
  };
  const std::string_view type = text("general.type"), architecture = text("general.architecture");
  if (type == "adapter") return &kAdapter;
  if (type == "mmproj" || architecture == "clip") return &kProjector;
  if (architecture == "controlvector") return &kControlVector;
  if (type == "imatrix" || (architecture.empty() && AnyName(checkpoint, [](std::string_view name) {
                              return name.ends_with(".in_sum2");
                            }))) {
    return &kImatrix;
  }
  const bool empty = checkpoint.tensors.empty();
  return type == "vocab" || (empty && !text("tokenizer.ggml.model").empty()) ? &kVocabulary
                                                                             : nullptr;
}

const FileKind* OfHuggingFace(const Checkpoint& checkpoint) {
  const bool adapter = AnyName(checkpoint, [](std::string_view name) {
    return name.starts_with("base_model.model.") || name.find(".lora_A.") != name.npos;
  });
  return adapter ? &kAdapter : nullptr;
}

}  // namespace

const FileKind* KindBesideModel(const Checkpoint& checkpoint) {
  return checkpoint.dialect == Dialect::kGguf ? OfGguf(checkpoint) : OfHuggingFace(checkpoint);
}

void RequireModel(const Checkpoint& checkpoint) {
  const FileKind* kind = KindBesideModel(checkpoint);
  if (kind == nullptr) return;
  FailUnsupported(
      "{}: is no model but a{} {}: {}", checkpoint.path,
      std::string_view("aeiou").find(kind->name[0]) != std::string_view::npos ? "n" : "",
      kind->name, kind->advice);
}

}  // namespace halftone
