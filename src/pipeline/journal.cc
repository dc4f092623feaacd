#include "pipeline/journal.h"

#include <span>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFingerprint = "fingerprint";

}  // namespace

Journal::Journal(const std::string& output, const std::string& fingerprint, bool resume)
    : folder_(output + ".partial") {
  std::error_code error;
  bool same = false;
  if (resume && fs::exists(folder_ / kFingerprint, error)) {
    same = ReadTextFile((folder_ / kFingerprint).string()) == fingerprint;
  }
  if (!same) fs::remove_all(folder_, error);
  fs::create_directories(folder_, error);
  if (error) FailIo("{}: cannot be created: {}", folder_.string(), error.message());
  if (!same) WriteFile(folder_ / kFingerprint, fingerprint);
}

fs::path Journal::Path(size_t n, const char* extension) const {
  return folder_ / (std::to_string(n) + extension);
}

bool Journal::Has(size_t n) const {
  std::error_code error;
  return fs::exists(Path(n, ".json"), error) && fs::exists(Path(n, ".tensor"), error);
}

std::optional<std::vector<uint8_t>> Journal::Find(size_t n, uint64_t bytes,
                                                  QuantizedTensor& tensor) const {
  if (!Has(n)) return std::nullopt;
  const auto file = MappedFile::Open(Path(n, ".tensor").string());
  if (file->bytes().size() != bytes) return std::nullopt;
  const std::string path = Path(n, ".json").string();
  const Json json = ParseJson(ReadTextFile(path), path);
  tensor.relative_error = json.value("relative_error", 0.0);
  tensor.output_error = json.value("output_error", 0.0);
  tensor.output_error_rtn = json.value("output_error_rtn", 0.0);
  tensor.damping = json.value("damping", 0.0);
  tensor.note = json.value("note", "");
  return std::vector<uint8_t>(file->bytes().begin(), file->bytes().end());
}

void Journal::Put(size_t n, const std::vector<uint8_t>& blocks, const QuantizedTensor& tensor) {
  AtomicFile file(Path(n, ".tensor"));
  file.Write(std::span<const uint8_t>(blocks));
  file.Commit();
  // Written last: a tensor counts only with its measurements.
  const Json json = {{"relative_error", tensor.relative_error},
                     {"output_error", tensor.output_error},
                     {"output_error_rtn", tensor.output_error_rtn},
                     {"damping", tensor.damping},
                     {"note", tensor.note}};
  WriteFile(Path(n, ".json"), json.dump());
}

void Journal::Remove() {
  std::error_code error;
  fs::remove_all(folder_, error);
}

}  // namespace halftone
