// GGUF, the single-file container of llama.cpp: docs/formats/gguf.md.

#include <algorithm>
#include <fstream>

#include "container/container.h"
#include "container/gguf_format.h"
#include "container/gguf_reader.h"
#include "container/gguf_writer.h"

namespace halftone {
namespace {

bool Recognize(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  // A file that is named so but begins otherwise gets the reader's own message.
  if (path.extension() == ".gguf") return true;
  char magic[gguf::kMagic.size()] = {};
  std::ifstream file(path, std::ios::binary);
  return file.read(magic, sizeof magic) && std::ranges::equal(magic, gguf::kMagic);
}

bool CanStore(const Grid& grid) { return grid.gguf_type >= 0; }

}  // namespace

extern const Container kContainer_gguf;
constinit const Container kContainer_gguf{
    .name = "gguf",
    .summary = "GGUF, the single file of llama.cpp",
    .dialect = Dialect::kGguf,
    .recognize = &Recognize,
    .open = &ReadGguf,
    .can_store = &CanStore,
    .file_bytes = &GgufBytes,
    .opened = &GgufOpened,
    .create = &CreateGguf,
};

}  // namespace halftone
