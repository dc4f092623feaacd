// Finished tensors of a run that may be interrupted, so that a later run can go on.
//
//   <output>.partial/fingerprint   what decides the result; another one makes the folder void
//   <output>.partial/<n>.tensor    the blocks of the plan's n-th tensor, written atomically
//   <output>.partial/<n>.json      what was measured with it
//
// The folder is removed when the output is whole.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "halftone/quantize.h"

namespace halftone {

class Journal {
 public:
  // Opens the journal of `output`. Without `resume`, or where the fingerprint differs, whatever is
  // there is removed first. Throws Error (kIo).
  Journal(const std::string& output, const std::string& fingerprint, bool resume);

  // The blocks of tensor n (exactly `bytes` of them) if an earlier run finished it; fills in what
  // was measured then.
  std::optional<std::vector<uint8_t>> Find(size_t n, uint64_t bytes, QuantizedTensor& tensor) const;
  void Put(size_t n, const std::vector<uint8_t>& blocks, const QuantizedTensor& tensor);

  // Whether tensor n is there.
  bool Has(size_t n) const;

  // The output is whole.
  void Remove();

 private:
  std::filesystem::path Path(size_t n, const char* extension) const;

  std::filesystem::path folder_;
};

}  // namespace halftone
