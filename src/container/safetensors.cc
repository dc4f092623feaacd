#include "container/container.h"
namespace halftone {
extern const Container kContainer_safetensors;
constinit const Container kContainer_safetensors{
    .name = "safetensors",
    .summary = "a Hugging Face folder of safetensors files",
    .dialect = Dialect::kHuggingFace,
    .recognize = [](const std::filesystem::path&) { return false; },
    .open = nullptr,
    .can_store = [](const Grid&) { return false; },
    .file_bytes = nullptr,
    .create = nullptr,
};
}  // namespace halftone
