// The cache of downloaded repositories, as Hugging Face's own libraries lay it out and share it:
//
//   <cache>/CACHEDIR.TAG                              tells backups to leave the folder out
//   <cache>/.locks/models--ORG--NAME/<etag>.lock      held (flock) while a file is fetched
//   <cache>/models--ORG--NAME/blobs/<etag>            a file's content
//                                  /blobs/<etag>.incomplete   the first bytes of one
//                                  /snapshots/<commit>/<file> -> ../../blobs/<etag>
//                                  /refs/<revision>   the commit that it was last seen at
//
// A file in snapshots/ is there as a whole or not at all.
//
// Source: "Hub Local Cache" of the hub's documentation.

#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/hub_id.h"

namespace halftone {

class HubCache {
 public:
  // `repo`: "ORG/NAME".
  HubCache(std::filesystem::path root, const std::string& repo);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path Blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  std::filesystem::path Snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }
  std::filesystem::path LockFile(const std::string& etag) const;

  // The commit that a revision stood at when it was last fetched.
  std::optional<std::string> ReadRef(const std::string& revision) const;
  void WriteRef(const std::string& revision, const std::string& commit) const;

  // The files of a snapshot, by their names in the repository, sorted.
  std::vector<std::string> Files(const std::string& commit) const;
  bool Has(const std::string& commit, const std::string& name) const;

  // Puts a complete blob into the snapshot: a link, or where the file system has none the file
  // itself.
  void Link(const std::string& commit, const std::string& name, const std::string& etag) const;

  // Makes the folders for blobs and locks. Throws Error (kIo), as all that write.
  void Prepare() const;

 private:
  std::filesystem::path root_;
  std::string name_;  // "models--ORG--NAME"
  std::filesystem::path folder_;
};

// Holds a lock file as long as it lives; the system releases it when a process dies.
class CacheLock {
 public:
  // Waits while another process holds it; `waiting` is called once if that is so. Throws Error
  // (kCancelled) when `cancelled` becomes true, kIo.
  CacheLock(const std::filesystem::path& path, const std::function<bool()>& cancelled,
            const std::function<void()>& waiting);
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace halftone
