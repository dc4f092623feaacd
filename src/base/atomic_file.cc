#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace halftone {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& target) : target_(target) {
  // mkstemp picks a name that no other run uses, in the target's folder so that rename is atomic.
  std::string name = target.string() + ".part-XXXXXX";
  fd_ = ::mkstemp(name.data());
  if (fd_ < 0) FailIo("{}: cannot create: {}", target.string(), std::strerror(errno));
  temporary_ = name;
  // mkstemp makes files private; give the result the mode that an ordinary open would have.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(fd_, 0666 & ~mask);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::Write(std::span<const uint8_t> bytes) {
  size_ += bytes.size();
  // What would fill the buffer by itself is not copied: a tensor may be as large as memory.
  if (bytes.size() >= kBufferBytes) {
    Flush();
    WriteOut(bytes);
    return;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() >= kBufferBytes) Flush();
}

void AtomicFile::Write(std::string_view text) {
  Write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

void AtomicFile::WriteOut(std::span<const uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) FailIo("{}: cannot write: {}", target_.string(), std::strerror(errno));
    done += static_cast<size_t>(n);
  }
}

void AtomicFile::Flush() {
  WriteOut(buffer_);
  buffer_.clear();
}

void AtomicFile::Finish() {
  Flush();
  buffer_ = {};
  if (::fsync(fd_) != 0) FailIo("{}: cannot write: {}", target_.string(), std::strerror(errno));
  if (::close(std::exchange(fd_, -1)) != 0) {
    FailIo("{}: cannot finish: {}", target_.string(), std::strerror(errno));
  }
}

void AtomicFile::Commit() {
  if (fd_ >= 0) Finish();
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    FailIo("{}: cannot finish: {}", target_.string(), std::strerror(errno));
  }
  temporary_.clear();
}

void WriteFile(const std::filesystem::path& target, std::string_view text) {
  AtomicFile file(target);
  file.Write(text);
  file.Commit();
}

}  // namespace halftone
