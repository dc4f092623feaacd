#include "hub/hub.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "hub/cache.h"
#include "hub/client.h"
#include "hub/download.h"
#include "hub/select.h"
#include "hub/transport.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

class Pull {
 public:
  Pull(const HubId& id, const HubSettings& settings, Progress* progress)
      : id_(id),
        settings_(settings),
        progress_(progress),
        cache_(settings.cache, id.repo),
        offline_(settings.offline) {
    watch_.cancelled = [progress] { return progress != nullptr && progress->Cancelled(); };
  }

  PulledModel Run() {
    Find();
    Selection selection = SelectFiles(id_, listing_.files, !offline_);
    if (!selection.index.empty()) {
      Fetch({selection.index});
      const fs::path index = cache_.Snapshot(listing_.commit) / selection.index;
      const auto parts = IndexParts(ReadTextFile(index),
                                    id_.repo + ": file '" + selection.index + "'", listing_.files);
      std::ranges::copy(parts, std::back_inserter(selection.files));
      std::erase(selection.files, selection.index);
    }
    Fetch(selection.files);
    if (!offline_) cache_.WriteRef(id_.revision, listing_.commit);
    pulled_.commit = listing_.commit;
    pulled_.path = cache_.Snapshot(listing_.commit);
    if (!selection.open.empty()) pulled_.path /= selection.open;
    return std::move(pulled_);
  }

 private:
  // Commit and files, from the hub or else from the cache.
  void Find() {
    const std::optional<std::string> known = cache_.ReadRef(id_.revision);
    if (!offline_ && !HasTransport() && known) offline_ = true;
    if (!offline_) {
      client_.emplace(settings_, watch_.cancelled);
      try {
        listing_ = client_->List(id_.repo, id_.revision);
        return;
      } catch (const HubUnreachable& error) {
        if (!known || cache_.Files(*known).empty()) throw;
        if (progress_) progress_->Note(std::string(error.what()) + "; what the cache has is used");
        offline_ = true;
      }
    }
    if (!known || cache_.Files(*known).empty()) {
      FailIo("{}: revision '{}' is not in the cache ({}), and HF_HUB_OFFLINE forbids to fetch it",
             id_.repo, Printable(id_.revision), settings_.cache.string());
    }
    listing_ = {*known, cache_.Files(*known)};
  }

  void Fetch(const std::vector<std::string>& names) {
    std::vector<std::string> missing;
    for (const std::string& name : names) {
      if (cache_.Has(listing_.commit, name)) {
        std::error_code error;
        const fs::path path = cache_.Snapshot(listing_.commit) / name;
        pulled_.files.push_back({name, fs::file_size(path, error), false});
      } else {
        missing.push_back(name);
      }
    }
    if (missing.empty()) return;
    cache_.Prepare();
    std::vector<RemoteFile> files;
    if (progress_) progress_->Begin("look up " + id_.repo, static_cast<int64_t>(missing.size()));
    for (const std::string& name : missing) {
      files.push_back(client_->Head(id_.repo, listing_.commit, name));
      if (progress_) progress_->Advance(static_cast<int64_t>(files.size()));
    }
    if (progress_) progress_->End();
    CheckSpace(files);
    uint64_t total = 0;
    for (const RemoteFile& file : files) total += file.bytes;
    if (progress_) progress_->Begin("pull " + id_.repo, static_cast<int64_t>(total));
    uint64_t done = 0;
    for (const RemoteFile& file : files) {
      FetchOne(file, done);
      done += file.bytes;
      if (progress_) progress_->Advance(static_cast<int64_t>(done));
    }
    if (progress_) progress_->End();
  }

  void FetchOne(const RemoteFile& file, uint64_t before) {
    const fs::path blob = cache_.Blob(file.etag);
    bool fetched = false;
    if (!IsThere(file, blob)) {
      const CacheLock lock(cache_.LockFile(file.etag), watch_.cancelled, [&] {
        if (progress_) progress_->Note(file.Shown() + ": waits for another download of it");
      });
      // Who held the lock before may have brought it.
      if (!IsThere(file, blob)) {
        watch_.advanced = [&](uint64_t bytes) {
          if (progress_) progress_->Advance(static_cast<int64_t>(before + bytes));
        };
        DownloadBlob(settings_, file, blob, watch_);
        fetched = true;
      }
    }
    cache_.Link(listing_.commit, file.name, file.etag);
    pulled_.files.push_back({file.name, file.bytes, fetched});
  }

  static bool IsThere(const RemoteFile& file, const fs::path& blob) {
    std::error_code error;
    return fs::is_regular_file(blob, error) && fs::file_size(blob, error) == file.bytes;
  }

  void CheckSpace(const std::vector<RemoteFile>& files) const {
    uint64_t needed = 0;
    for (const RemoteFile& file : files) {
      const fs::path blob = cache_.Blob(file.etag);
      std::error_code error;
      if (IsThere(file, blob)) continue;
      const uint64_t begun = fs::file_size(blob.string() + ".incomplete", error);
      needed += file.bytes - (error ? 0 : std::min(begun, file.bytes));
    }
    std::error_code error;
    const fs::space_info space = fs::space(cache_.root(), error);
    if (error || needed == 0 || needed <= space.available) return;
    FailIo(
        "{}: {} more bytes are needed in {}, which has {} left; HF_HUB_CACHE names another place",
        id_.repo, needed, cache_.root().string(), space.available);
  }

  const HubId& id_;
  const HubSettings& settings_;
  Progress* progress_;
  HubCache cache_;
  bool offline_;
  std::optional<HubClient> client_;
  DownloadWatch watch_;
  RepoListing listing_;
  PulledModel pulled_;
};

}  // namespace

PulledModel PullModel(const HubId& id, const HubSettings& settings, Progress* progress) {
  return Pull(id, settings, progress).Run();
}

}  // namespace halftone
