#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace halftone {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) FailIo("{}: cannot open: {}", path.string(), std::strerror(errno));
  }
  ~FileDescriptor() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

// The size of a regular file; anything else cannot be mapped.
uint64_t RegularFileSize(const FileDescriptor& fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    FailIo("{}: cannot read its size: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) FailIo("{}: is not a regular file", path.string());
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const FileDescriptor fd(path);
  const uint64_t size = RegularFileSize(fd, path);
  std::span<const uint8_t> bytes;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (address == MAP_FAILED) {
      FailIo("{}: cannot map {} bytes: {}", path.string(), size, std::strerror(errno));
    }
    bytes = {static_cast<const uint8_t*>(address), size};
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, bytes));
}

void MappedFile::GiveBackPages() const {
  if (bytes_.empty()) return;
  // Private and never written: the file is what comes back. A failure costs memory only.
  ::madvise(const_cast<uint8_t*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

std::string ReadTextFile(const std::filesystem::path& path, uint64_t limit) {
  const auto file = MappedFile::Open(path);
  if (file->bytes().size() > limit) {
    FailIo("{}: {} bytes is more than the {} expected of such a file", path.string(),
           file->bytes().size(), limit);
  }
  return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
}

}  // namespace halftone
