// An importance matrix of either generation.

#include "calibration/imatrix_file.h"
#include "tests/fuzz/targets.h"
#include "tests/testing/damage.h"

namespace halftone {

void Fuzz_imatrix(std::string_view bytes) {
  static const MemoryFile file;
  MayRefuse([&] {
    const ImportanceMatrix matrix = ReadImportanceMatrix(file.Write(bytes));
    for (const auto& [name, entry] : matrix.entries) {
      if (entry.MeanSquare().size() != entry.sum_squares.size()) std::abort();
      entry.Unseen();
    }
  });
}

}  // namespace halftone
