#include "pipeline/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/fnv.h"

namespace halftone {
namespace {

// Bytes of each tensor that are looked at: reading all of a model would take as long as rounding
// it.
constexpr size_t kSample = 4096;

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
  fnv.Add(options.adapter);
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
