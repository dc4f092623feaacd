#include "container/unrecognized.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/foreign_file.h"
#include "base/half.h"
#include "base/printable.h"
#include "container/safetensors_file.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

// Names of entries for which `wanted` holds, in order.
template <class F>
std::vector<std::string> Entries(const fs::path& folder, F&& wanted) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (wanted(entry)) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

[[noreturn]] void FailFolder(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const auto ggufs = Entries(
      path, [](const fs::directory_entry& entry) { return entry.path().extension() == ".gguf"; });
  if (!ggufs.empty()) {
    FailUnsupported("{}: is a folder with {} GGUF file{}; name one: {}", name, ggufs.size(),
                    ggufs.size() == 1 ? "" : "s", (path / Printable(ggufs[0])).string());
  }
  if (fs::is_directory(path / "snapshots", error)) {
    FailUnsupported("{}: is a model's folder in the hub's cache; name one of its snapshots/", name);
  }
  const auto models = Entries(path, [](const fs::directory_entry& entry) {
    std::error_code ignored;
    return fs::is_regular_file(entry.path() / "config.json", ignored);
  });
  if (!models.empty()) {
    FailUnsupported("{}: is no model's folder itself; name one within it: {}", name,
                    (path / Printable(models[0])).string());
  }
  FailUnsupported(
      "{}: is neither a GGUF file nor a Hugging Face folder with safetensors: it holds no "
      "config.json and no weights",
      name);
}

// The older layout of importance matrices: a count, then an entry that begins with a tensor's name.
bool IsOldImatrix(std::string_view begin) {
  constexpr size_t kHead = 2 * sizeof(int32_t);
  if (begin.size() < kHead) return false;
  const auto entries = LoadLe<int32_t>(begin.data());
  const auto length = LoadLe<int32_t>(begin.data() + sizeof(int32_t));
  if (entries < 1 || length < 1 || static_cast<size_t>(length) > begin.size() - kHead) return false;
  return begin.substr(kHead, static_cast<size_t>(length)).ends_with(".weight");
}

// The length of a header, and the header: an object of JSON.
bool IsSafetensors(std::string_view begin) {
  return begin.size() > sizeof(uint64_t) &&
         LoadLe<uint64_t>(begin.data()) <= kMaxSafetensorsHeader && begin[sizeof(uint64_t)] == '{';
}

}  // namespace

void FailUnrecognized(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) FailFolder(path);
  const std::string name = path.string();
  if (fs::is_regular_file(path, error)) {
    const std::string begin = BeginningOf(path);
    if (const auto foreign = ForeignFile(begin); !foreign.empty()) {
      FailUnsupported("{}: {}", name, foreign);
    }
    if (IsOldImatrix(begin)) {
      FailUnsupported(
          "{}: is an importance matrix in llama.cpp's older layout, not a model; it goes to "
          "'halftone quantize --imatrix'",
          name);
    }
    if (IsSafetensors(begin)) {
      FailUnsupported(
          "{}: begins as a safetensors file; rename it so that it ends in '.safetensors'", name);
    }
    if (path.extension() == ".onnx") {
      FailUnsupported("{}: is an ONNX graph, which is not read; use the model it was made of",
                      name);
    }
    if (path.filename().string().ends_with(".json")) {
      FailUnsupported("{}: is no file of weights; name the folder around it", name);
    }
  }
  FailUnsupported("{}: is neither a GGUF file nor a Hugging Face folder with safetensors", name);
}

}  // namespace halftone
