// The public functions of the hub.

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/printable.h"
#include "base/seconds.h"
#include "halftone/hub.h"
#include "hub/hub.h"

namespace halftone {

PullReport Pull(const std::string& model, const PullOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto id = ParseHubId(model);
  if (!id) {
    FailUsage("'{}' is no name of a model on the hub, ORG/NAME[:FILE][@REVISION]",
              Printable(model));
  }
  const PulledModel pulled = PullModel(*id, HubSettingsFromEnvironment(), options.progress);
  PullReport report;
  report.repository = id->repo;
  report.revision = id->revision;
  report.commit = pulled.commit;
  report.path = pulled.path.string();
  for (const PulledModel::File& file : pulled.files) {
    report.files.push_back({file.name, file.bytes, file.fetched});
    report.bytes += file.bytes;
    if (file.fetched) report.fetched_bytes += file.bytes;
  }
  report.seconds = SecondsSince(start);
  return report;
}

bool IsHubModel(const std::string& model) {
  const auto id = ParseHubId(model);
  if (!id) return false;
  std::error_code error;
  if (std::filesystem::exists(model, error)) return false;
  if (std::filesystem::exists(id->repo.substr(0, id->repo.find('/')), error)) return false;
  // A mistyped path, rather than a repository with a file's name.
  const std::string extension = std::filesystem::path(id->repo).extension();
  return !id->file.empty() || (extension != ".gguf" && extension != ".safetensors");
}

std::string LocalModel(const std::string& model, Progress* progress) {
  return IsHubModel(model) ? Pull(model, {progress}).path : model;
}

}  // namespace halftone
