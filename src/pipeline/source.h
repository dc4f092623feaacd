// A model to be rewritten, seen as a GGUF file whatever it came in.

#pragma once

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/dialect.h"
#include "pipeline/presets.h"
#include "tensor/checkpoint.h"

namespace halftone {

struct Source {
  Checkpoint checkpoint;
  Metadata metadata;                // GGUF dialect, tokenizer included
  std::vector<GgufTensor> tensors;  // in the order of the file to be written
  ModelShape shape;
  int64_t parameters = 0;
};

// Opens a .gguf file or a Hugging Face folder. A GGUF file may be of any architecture; a folder
// must be of one that src/model knows. Throws Error.
Source OpenSource(const std::string& path);

// Decodes rows [begin, end) of a tensor in GGUF order to f32, [end - begin, cols]. Throws Error
// (kFormat) naming file, tensor and row if a value is not finite.
void DecodeRows(const Source& source, const GgufTensor& tensor, int64_t begin, int64_t end,
                ThreadPool& pool, float* values);

// The bytes of the whole tensor in GGUF order, without decoding.
std::vector<uint8_t> RowsInOrder(const GgufTensor& tensor);

}  // namespace halftone
