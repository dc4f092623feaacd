#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks the folder as a cache: https://bford.info/cachedir/\n";

void MakeFolders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) FailIo("{}: cannot create: {}", path.string(), error.message());
}

}  // namespace

HubCache::HubCache(fs::path root, const std::string& repo) : root_(std::move(root)) {
  const size_t slash = repo.find('/');
  name_ = "models--" + repo.substr(0, slash) + "--" + repo.substr(slash + 1);
  folder_ = root_ / name_;
}

fs::path HubCache::LockFile(const std::string& etag) const {
  return root_ / ".locks" / name_ / (etag + ".lock");
}

void HubCache::Prepare() const {
  MakeFolders(folder_ / "blobs");
  MakeFolders(root_ / ".locks" / name_);
  std::error_code error;
  if (!fs::exists(root_ / "CACHEDIR.TAG", error)) WriteFile(root_ / "CACHEDIR.TAG", kTag);
}

std::optional<std::string> HubCache::ReadRef(const std::string& revision) const {
  if (IsCommit(revision)) return revision;
  const fs::path path = folder_ / "refs" / revision;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  std::string commit = ReadTextFile(path, 4096);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  return IsCommit(commit) ? std::optional(commit) : std::nullopt;
}

void HubCache::WriteRef(const std::string& revision, const std::string& commit) const {
  if (revision == commit || ReadRef(revision) == commit) return;
  const fs::path path = folder_ / "refs" / revision;
  MakeFolders(path.parent_path());
  WriteFile(path, commit);
}

std::vector<std::string> HubCache::Files(const std::string& commit) const {
  std::vector<std::string> files;
  const fs::path folder = Snapshot(commit);
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; it != end && !error;
       it.increment(error)) {
    std::error_code status;
    // A link whose blob is gone is no file.
    if (it->is_regular_file(status)) files.push_back(it->path().lexically_relative(folder));
  }
  std::ranges::sort(files);
  return files;
}

bool HubCache::Has(const std::string& commit, const std::string& name) const {
  std::error_code error;
  return fs::is_regular_file(Snapshot(commit) / name, error);
}

void HubCache::Link(const std::string& commit, const std::string& name,
                    const std::string& etag) const {
  const fs::path path = Snapshot(commit) / name;
  MakeFolders(path.parent_path());
  const fs::path target = Blob(etag).lexically_relative(path.parent_path());
  // Made aside and renamed, so that a link that leads nowhere is replaced and two may do it at
  // once.
  const fs::path temporary = path.string() + ".part-" + std::to_string(std::random_device()());
  std::error_code error;
  fs::create_symlink(target, temporary, error);
  if (error) {
    fs::rename(Blob(etag), path, error);
  } else {
    fs::rename(temporary, path, error);
  }
  if (error) FailIo("{}: cannot create: {}", path.string(), error.message());
}

CacheLock::CacheLock(const fs::path& path, const std::function<bool()>& cancelled,
                     const std::function<void()>& waiting) {
  for (bool said = false;;) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) FailIo("{}: cannot open: {}", path.string(), std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
      // Who held it may have removed the file meanwhile; then it is a lock that nobody else sees.
      struct stat held {
      }, named{};
      const bool same = ::fstat(fd_, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
                        held.st_ino == named.st_ino && held.st_dev == named.st_dev;
      if (same) return;
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      const int error = errno;
      ::close(std::exchange(fd_, -1));
      FailIo("{}: cannot lock: {}", path.string(), std::strerror(error));
    } else {
      if (!said && waiting) waiting();
      said = true;
    }
    ::close(std::exchange(fd_, -1));
    if (cancelled && cancelled()) Fail(Error::Kind::kCancelled, "the download was cancelled");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

CacheLock::~CacheLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace halftone
