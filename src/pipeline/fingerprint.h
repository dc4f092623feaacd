// What decides the bytes of a quantized model, in a few hexadecimal digits: it names a run that may
// be resumed, and goes into the file so that two files can be told apart.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "halftone/quantize.h"
#include "pipeline/source.h"

namespace halftone {

inline constexpr size_t kFingerprintLength = 16;

// 64 bits of FNV-1a over the version, the options, the calibration text and the source: its
// tensors' names, shapes and grids, and a sample of their bytes.
std::string Fingerprint(const Source& source, const QuantizeOptions& options,
                        std::string_view calibration);

}  // namespace halftone
