// The one exception type that leaves the library.
//
// Anything that a file, a flag or a device can cause is an Error whose what() is one sentence
// naming the file and, where they exist, the tensor and the byte offset. The library never prints,
// exits or aborts on input.

#pragma once

#include <stdexcept>
#include <string>

namespace halftone {

class Error : public std::runtime_error {
 public:
  enum class Kind {
    kUsage,        // The caller asked for something that does not exist or cannot be combined.
    kFormat,       // A file breaks its own format.
    kUnsupported,  // A valid input that this version cannot handle.
    kIo,           // The operating system refused: missing file, full disk, no memory to map.
    kCancelled,    // Progress::Cancelled() became true.
  };

  Error(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace halftone
