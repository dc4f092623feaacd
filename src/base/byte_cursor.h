// Reading little-endian fields one after another from the bytes of a file that may lie about
// itself.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"

namespace halftone {

// A position in a file's bytes that never passes their end. Every failure is an Error (kFormat)
// "<path>: byte <offset>: <subject>: <what went wrong>".
class ByteCursor {
 public:
  ByteCursor(std::string path, std::span<const uint8_t> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  const std::string& path() const { return path_; }
  uint64_t at() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }

  // What the following fields belong to, for messages: "tensor", its name. The name must outlive
  // its use here; an empty kind means nothing.
  void Subject(std::string_view kind, std::string_view name) {
    kind_ = kind;
    name_ = name;
  }

  // The next n bytes. `what` names the field in messages.
  std::span<const uint8_t> Take(uint64_t n, std::string_view what) {
    if (n > remaining()) {
      Fail(at_, "{} needs {} bytes but the file has {} left", what, n, remaining());
    }
    const auto taken = bytes_.subspan(at_, n);
    at_ += n;
    return taken;
  }

  template <class T>
  T Read(std::string_view what) {
    return LoadLe<T>(Take(sizeof(T), what).data());
  }

  // The next n bytes as text that lies in the file.
  std::string_view Text(uint64_t n, std::string_view what) {
    const auto bytes = Take(n, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // A broken file.
  template <class... Args>
  [[noreturn]] void Fail(uint64_t at, fmt::format_string<Args...> format, Args&&... args) const {
    Throw(Error::Kind::kFormat, at, fmt::vformat(format, fmt::make_format_args(args...)));
  }

  // A file that may be whole but needs what this version lacks.
  template <class... Args>
  [[noreturn]] void FailUnsupported(uint64_t at, fmt::format_string<Args...> format,
                                    Args&&... args) const {
    Throw(Error::Kind::kUnsupported, at, fmt::vformat(format, fmt::make_format_args(args...)));
  }

 private:
  [[noreturn]] void Throw(Error::Kind kind, uint64_t at, const std::string& message) const {
    const std::string subject =
        kind_.empty() ? "" : fmt::format("{} '{}': ", kind_, Printable(name_));
    halftone::Fail(kind, "{}: byte {}: {}{}", path_, at, subject, message);
  }

  std::string path_;
  std::span<const uint8_t> bytes_;
  uint64_t at_ = 0;
  std::string_view kind_;
  std::string_view name_;
};

}  // namespace halftone
