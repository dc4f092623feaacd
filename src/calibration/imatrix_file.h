// Importance matrices of llama.cpp: E[x^2] of each input column of each weight.
// Layouts: docs/formats/imatrix.md. Both generations are read, the GGUF one is written.

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tensor/metadata.h"

namespace halftone {

struct ImportanceEntry {
  // Sum of squares over all tokens, [matrices, cols]; matrices > 1 for stacked experts.
  std::vector<float> sum_squares;
  // Token rows that each matrix saw, [matrices].
  std::vector<float> counts;

  // sum_squares / counts, [matrices, cols]; 1 for a matrix that saw nothing.
  std::vector<float> MeanSquare() const;
  // The matrices that saw no token.
  std::vector<int64_t> Unseen() const;
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry> entries;  // by weight name in the GGUF dialect
  std::vector<std::string> datasets;
  int64_t chunk_count = 0;
  int64_t chunk_size = 0;  // tokens
  bool legacy = false;     // was read from the older .dat layout
  // Further keys of the GGUF generation, all named "halftone.*": llama.cpp does not look at them.
  Metadata own;
};

// Throws Error naming file and entry.
ImportanceMatrix ReadImportanceMatrix(const std::filesystem::path& path);

// Writes the GGUF generation, atomically, so that llama-quantize reads it.
void WriteImportanceMatrix(const ImportanceMatrix& matrix, const std::filesystem::path& path);

}  // namespace halftone
