// The checksums by which the hub names files: SHA-256 of large ones (those that Git LFS keeps) and
// Git's own SHA-1 of small ones, which is that of "blob <bytes>", a zero byte and the content.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace halftone {

class Digest {
 public:
  // The digest of a file of `bytes` that an etag tells of: 64 hexadecimal digits mean SHA-256, 40
  // Git's SHA-1. Null for other etags.
  static std::unique_ptr<Digest> ForEtag(const std::string& etag, uint64_t bytes);

  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Add(std::span<const uint8_t> bytes);
  // In lower-case hexadecimal digits. Only once.
  std::string Finish();

 private:
  struct State;
  explicit Digest(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace halftone
