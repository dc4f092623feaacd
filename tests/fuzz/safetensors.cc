// A .safetensors file; every byte of every tensor is touched.

#include <cstdlib>

#include "container/safetensors_file.h"
#include "tests/fuzz/targets.h"
#include "tests/testing/damage.h"

namespace halftone {

void Fuzz_safetensors(std::string_view bytes) {
  static const MemoryFile file;
  MayRefuse([&] {
    uint64_t sum = 0;
    for (const SafetensorsTensor& tensor : ReadSafetensors(file.Write(bytes)).tensors) {
      uint64_t bits = static_cast<uint64_t>(tensor.dtype->bits);
      for (const int64_t extent : tensor.shape) bits *= static_cast<uint64_t>(extent);
      if (tensor.data.size() * 8 != bits) std::abort();
      for (const uint8_t byte : tensor.data) sum += byte;
    }
    [[maybe_unused]] static volatile uint64_t sink;
    sink = sum;
  });
}

}  // namespace halftone
