// Damaged files for parsers: what a bad disk, a cut download or an attacker makes of a good one.

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

namespace halftone {

// A file in memory with a path: forty thousand small files would keep a disk busy.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("hostile", 0)) {}
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path Write(std::string_view bytes) const {
    const auto size = static_cast<ssize_t>(bytes.size());
    if (::ftruncate(fd_, size) != 0 || ::pwrite(fd_, bytes.data(), bytes.size(), 0) != size) {
      throw std::runtime_error("cannot write a file in memory");
    }
    return "/proc/self/fd/" + std::to_string(fd_);
  }

 private:
  int fd_;
};

// Bit flips, bytes and integers overwritten with extreme values, pieces removed or doubled.
inline void Damage(std::string& bytes, std::mt19937& random) {
  constexpr uint64_t kExtremes[] = {0,          1,         0x7F,       0x80,       0xFF,
                                    1ull << 31, ~0u,       1ull << 32, 1ull << 60, 1ull << 61,
                                    1ull << 62, INT64_MAX, 1ull << 63, ~7ull,      ~0ull};
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  const size_t at = below(bytes.size());
  const size_t n = 1 + below(std::min<size_t>(16, bytes.size() - at));
  switch (below(6)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(random());
      break;
    case 2: {
      const uint64_t value = kExtremes[below(std::size(kExtremes))];
      const size_t size = std::min<size_t>(size_t{1} << below(4), bytes.size() - at);
      bytes.replace(at, size, reinterpret_cast<const char*>(&value), size);
      break;
    }
    case 3:
      bytes.erase(at, n);
      break;
    case 4:
      bytes.insert(below(bytes.size()), bytes.substr(at, n));
      break;
    default:  // a digit: the numbers of a JSON header
      bytes[at] = "0123456789-.e\"[]{}"[below(18)];
  }
}

}  // namespace halftone
