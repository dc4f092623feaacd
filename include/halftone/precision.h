// Rounding weights while a model is loaded, as transformers does with bitsandbytes: no calibration,
// no file in between.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace halftone {

enum class LoadIn : uint8_t {
  kAsStored,
  k4Bit,  // NF4 or FP4 (Dettmers et al. 2023, arXiv:2305.14314)
  k8Bit,  // LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339)
};

// The linear layers inside the blocks are rounded; embedding, output matrix, norms and biases are
// not, and tensors that are quantized already stay as they are. The weights are those that
// `quantize --container bnb` writes and so bitsandbytes' own, but for the mean of double
// quantization's scales.
struct Precision {
  LoadIn load_in = LoadIn::kAsStored;
  // Of 4 bits:
  std::string quant_type = "nf4";  // or "fp4"
  bool double_quant = false;       // scales, too, are rounded, to 8 bits
  int block = 64;                  // weights that share a scale: a power of two from 32 to 4096
  // Of 8 bits: activations of at least this magnitude are multiplied in f32, the others rounded to
  // 8 bits by the largest of their token; 0: all are rounded. Not set: what a checkpoint of
  // bitsandbytes says of itself, else 6. Set, it holds for such a checkpoint as it is stored, too.
  std::optional<float> int8_threshold = std::nullopt;
};

}  // namespace halftone
