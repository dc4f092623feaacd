#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "hub/digest.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 20;
// Of the page that comes with a refusal.
constexpr uint64_t kMaxRefusalBytes = uint64_t{1} << 20;

bool IsSuccess(const HttpReply& reply) { return reply.status == 200 || reply.status == 206; }

// The first bytes of a file, on disk and in the checksum.
class IncompleteFile {
 public:
  IncompleteFile(const RemoteFile& file, const fs::path& blob)
      : file_(file), blob_(blob), path_(blob.string() + ".incomplete") {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) FailIo("{}: cannot create: {}", path_.string(), std::strerror(errno));
    Restart(false);
  }
  ~IncompleteFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  IncompleteFile(const IncompleteFile&) = delete;
  IncompleteFile& operator=(const IncompleteFile&) = delete;

  uint64_t size() const { return size_; }

  // Takes what an earlier run has left, if it can be the beginning of this file.
  void Resume(const DownloadWatch& watch) {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) Fail("cannot read its size");
    const auto left = static_cast<uint64_t>(info.st_size);
    if (left > file_.bytes) return Restart(true);
    std::vector<uint8_t> buffer(kReadBytes);
    while (size_ < left) {
      const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) Fail("cannot read");
      Count({buffer.data(), static_cast<size_t>(n)});
      if (watch.advanced) watch.advanced(size_);
      if (watch.cancelled && watch.cancelled()) {
        halftone::Fail(Error::Kind::kCancelled, "{}: cancelled", file_.Shown());
      }
    }
  }

  void Append(std::span<const uint8_t> bytes) {
    for (std::span<const uint8_t> left = bytes; !left.empty();) {
      const auto at = static_cast<off_t>(size_ + (bytes.size() - left.size()));
      const ssize_t n = ::pwrite(fd_, left.data(), left.size(), at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) Fail("cannot write");
      left = left.subspan(static_cast<size_t>(n));
    }
    Count(bytes);
  }

  void Restart(bool truncate = true) {
    if (truncate && ::ftruncate(fd_, 0) != 0) Fail("cannot write");
    size_ = 0;
    digest_ = Digest::ForEtag(file_.etag, file_.bytes);
  }

  // Whether the checksum is right; the file must have all its bytes. Only once.
  bool IsRight() { return digest_ == nullptr || digest_->Finish() == file_.etag; }

  void Remove() { ::unlink(path_.c_str()); }

  void Commit() {
    if (::fsync(fd_) != 0) Fail("cannot write");
    if (::close(std::exchange(fd_, -1)) != 0) Fail("cannot write");
    if (::rename(path_.c_str(), blob_.c_str()) != 0) Fail("cannot finish");
  }

 private:
  [[noreturn]] void Fail(const char* what) const {
    FailIo("{}: {} ({}): {}", path_.string(), what, file_.Shown(), std::strerror(errno));
  }
  void Count(std::span<const uint8_t> bytes) {
    if (digest_) digest_->Add(bytes);
    size_ += bytes.size();
  }

  const RemoteFile& file_;
  fs::path blob_, path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::unique_ptr<Digest> digest_;
};

// A piece of the file, [begin, end), as far as it has come.
struct Piece {
  uint64_t begin = 0, end = 0;
  std::vector<uint8_t> bytes;
  bool done = false;  // the thread that fetches it has finished
  bool complete() const { return bytes.size() == end - begin; }
};

// The pieces of a file from some byte on, fetched by threads and appended here in order.
class Pieces {
 public:
  Pieces(const HubSettings& settings, const RemoteFile& file, uint64_t from)
      : settings_(settings), file_(file), next_(from) {
    const uint64_t pieces = (file.bytes - from + settings.piece_bytes - 1) / settings.piece_bytes;
    const auto threads = std::min<uint64_t>(pieces, std::max(1, settings.connections));
    most_ = 2 * threads;
    for (uint64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~Pieces() { Stop(); }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  // True when the file is complete; false where the server knows no ranges. What came in order is
  // appended also before an error is thrown.
  bool AppendAll(IncompleteFile& out, const DownloadWatch& watch) {
    bool cancelled = false;
    while (out.size() < file_.bytes && !cancelled) {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(100),
                     [&] { return FirstComplete() || stop_; });
      if (stop_) break;
      AppendComplete(out, lock);
      if (watch.advanced) watch.advanced(out.size() + waiting_);
      lock.unlock();
      cancelled = watch.cancelled && watch.cancelled();
    }
    Stop();
    if (no_ranges_) return false;
    Drain(out);
    if (out.size() == file_.bytes) return true;
    if (cancelled) Fail(Error::Kind::kCancelled, "{}: cancelled", file_.Shown());
    std::rethrow_exception(error_);
  }

 private:
  bool FirstComplete() const { return !pieces_.empty() && pieces_.front()->done; }

  void AppendComplete(IncompleteFile& out, std::unique_lock<std::mutex>& lock) {
    while (FirstComplete()) {
      const std::unique_ptr<Piece> piece = std::move(pieces_.front());
      pieces_.pop_front();
      waiting_ -= piece->bytes.size();
      lock.unlock();
      room_.notify_all();
      out.Append(piece->bytes);
      lock.lock();
    }
  }

  // After the threads have ended: what of the first pieces has come without a gap.
  void Drain(IncompleteFile& out) {
    for (const auto& piece : pieces_) {
      out.Append(piece->bytes);
      if (!piece->complete()) break;
    }
    pieces_.clear();
  }

  void Stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // The next piece to fetch, once there is room for it; null when there is nothing left to do.
  Piece* Take() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return stop_ || pieces_.size() < most_; });
    if (stop_ || next_ == file_.bytes) return nullptr;
    auto piece = std::make_unique<Piece>();
    piece->begin = next_;
    piece->end = next_ = std::min(file_.bytes, next_ + settings_.piece_bytes);
    pieces_.push_back(std::move(piece));
    return pieces_.back().get();
  }

  void Work() {
    try {
      HubClient client(settings_, [this] { return stop_.load(); });
      Attempts attempts(settings_, client.cancelled());
      while (Piece* piece = Take()) {
        if (!Fetch(client, attempts, *piece)) return;
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      // Threads that were told to end fail as well.
      if (!stop_) error_ = std::current_exception();
      stop_ = true;
    }
    wake_.notify_all();
  }

  // What is wrong with the head of a reply to a request for bytes [from, end); empty: nothing.
  std::string Wrong(const HttpReply& reply, uint64_t from, uint64_t end) const {
    if (reply.status != 206) return {};
    const std::string range = fmt::format("bytes {}-{}/{}", from, end - 1, file_.bytes);
    const std::string& given = reply.Header("content-range");
    if (given == range) return {};
    return fmt::format("asked for '{}' the server sends '{}'", range, Printable(given));
  }

  // False where all threads should end.
  bool Fetch(HubClient& client, Attempts& attempts, Piece& piece) {
    piece.bytes.reserve(piece.end - piece.begin);  // so that the callback cannot throw
    while (!piece.complete()) {
      const uint64_t from = piece.begin + piece.bytes.size();
      const uint64_t before = piece.bytes.size();
      std::string wrong;
      uint64_t refusal = 0;
      const HttpReply reply = client.Get(
          file_, from, piece.end, [&](const HttpReply& head, std::span<const uint8_t> b) {
            if (!IsSuccess(head)) return (refusal += b.size()) <= kMaxRefusalBytes;
            if (head.status == 200 && (from > 0 || piece.end < file_.bytes)) {
              return !(no_ranges_ = true);
            }
            if (piece.bytes.size() == before) wrong = Wrong(head, from, piece.end);
            if (wrong.empty() && b.size() > piece.end - piece.begin - piece.bytes.size()) {
              wrong = "the server sends more than it was asked for";
            }
            if (!wrong.empty()) return false;
            piece.bytes.insert(piece.bytes.end(), b.begin(), b.end());
            waiting_ += b.size();
            return true;
          });
      if (!wrong.empty()) FailFormat("{}: {}", file_.Shown(), wrong);
      if (no_ranges_) {
        std::lock_guard lock(mutex_);
        stop_ = true;
        return wake_.notify_all(), false;
      }
      if (piece.bytes.size() > before) attempts.Reset();
      if (piece.complete()) break;
      const bool short_one = reply.error.empty() && IsSuccess(reply);
      if (short_one ? attempts.Again() : attempts.Again(reply)) continue;
      if (short_one) FailIo("{}: the server sends no more than byte {}", file_.Shown(), from);
      client.FailReply(file_.repo, "file '" + Printable(file_.name) + "'", reply);
    }
    {
      std::lock_guard lock(mutex_);
      piece.done = true;
    }
    wake_.notify_all();
    return true;
  }

  const HubSettings& settings_;
  const RemoteFile& file_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;  // guards the pieces, but not the bytes of one that is being fetched
  std::condition_variable wake_, room_;
  std::deque<std::unique_ptr<Piece>> pieces_;  // in order; not appended yet
  size_t most_ = 0;
  uint64_t next_ = 0;  // where the next piece begins
  std::exception_ptr error_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> no_ranges_{false};
  std::atomic<uint64_t> waiting_{0};  // bytes in pieces_
};

// The whole file over one connection, from its beginning.
void DownloadWhole(const HubSettings& settings, const RemoteFile& file, IncompleteFile& out,
                   const DownloadWatch& watch) {
  HubClient client(settings, watch.cancelled);
  Attempts attempts(settings, watch.cancelled);
  while (true) {
    out.Restart();
    std::exception_ptr error;  // none may pass through the transport
    uint64_t refusal = 0;
    const HttpReply reply =
        client.Get(file, 0, 0, [&](const HttpReply& head, std::span<const uint8_t> bytes) {
          if (!IsSuccess(head)) return (refusal += bytes.size()) <= kMaxRefusalBytes;
          try {
            if (bytes.size() > file.bytes - out.size()) {
              FailFormat("{}: the server sends more than {} bytes", file.Shown(), file.bytes);
            }
            out.Append(bytes);
            if (watch.advanced) watch.advanced(out.size());
          } catch (...) {
            error = std::current_exception();
          }
          return error == nullptr;
        });
    if (error) std::rethrow_exception(error);
    if (reply.error.empty() && IsSuccess(reply) && out.size() == file.bytes) return;
    const bool short_one = reply.error.empty() && IsSuccess(reply);
    if (short_one ? attempts.Again() : attempts.Again(reply)) continue;
    if (short_one) {
      FailIo("{}: the server sends {} of {} bytes", file.Shown(), out.size(), file.bytes);
    }
    client.FailReply(file.repo, "file '" + Printable(file.name) + "'", reply);
  }
}

}  // namespace

void DownloadBlob(const HubSettings& settings, const RemoteFile& file, const fs::path& blob,
                  const DownloadWatch& watch) {
  IncompleteFile out(file, blob);
  out.Resume(watch);
  for (bool resumed = out.size() > 0;; resumed = false) {
    if (out.size() < file.bytes && !Pieces(settings, file, out.size()).AppendAll(out, watch)) {
      DownloadWhole(settings, file, out, watch);
    }
    if (out.IsRight()) break;
    // What an earlier run left may have been damaged since; what has just come is the hub's.
    if (!resumed) {
      out.Remove();
      FailFormat(
          "{}: the {} bytes that came do not have the checksum that the hub promised ({}); "
          "nothing of them is kept",
          file.Shown(), file.bytes, file.etag);
    }
    out.Restart();
  }
  out.Commit();
}

}  // namespace halftone
