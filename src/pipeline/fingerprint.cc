#include "pipeline/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace halftone {
namespace {

// Bytes of each tensor that are looked at: reading all of a model would take as long as rounding
// it.
constexpr size_t kSample = 4096;

class Fnv {
 public:
  void Add(std::span<const uint8_t> bytes) {
    for (const uint8_t byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001B3u;
  }
  void Add(std::string_view text) {
    Add(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
    Add(std::span<const uint8_t>(&kEnd, 1));
  }
  uint64_t hash() const { return hash_; }

 private:
  static constexpr uint8_t kEnd = 0;
  uint64_t hash_ = 0xCBF29CE484222325u;
};

}  // namespace

std::string Fingerprint(const Source& source, const QuantizeOptions& options,
                        std::string_view calibration) {
  Fnv fnv;
  fnv.Add(HALFTONE_VERSION);
  fnv.Add(options.grid);
  fnv.Add(fmt::format("{} {} {} {}", options.target_bytes, options.target_bits,
                      options.target_memory, options.target_context));
  fnv.Add(options.method);
  fnv.Add(options.container);
  fnv.Add(fmt::format("{} {} {}", options.context, options.calibration_chunks, options.act_order));
  fnv.Add(calibration);
  for (const GgufTensor& t : source.tensors) {
    fnv.Add(t.tensor.name);
    fnv.Add(t.tensor.grid->name);
    fnv.Add(ShapeText(t.tensor.shape));
    if (t.tensor.source != nullptr) {
      std::vector<uint8_t> row(t.tensor.rows() > 0 ? t.tensor.row_bytes() : 0);
      if (!row.empty()) t.tensor.source->Read(0, 1, row.data());
      fnv.Add(row);
    }
    fnv.Add(t.tensor.data.first(std::min(kSample, t.tensor.data.size())));
  }
  return fmt::format("{:0{}x}", fnv.hash(), kFingerprintLength);
}

}  // namespace halftone
