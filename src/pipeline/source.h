// A model to be rewritten, seen as a GGUF file whatever it came in.

#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "container/container.h"
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
  // Null for GGUF files of an architecture that src/model does not know.
  const Architecture* architecture = nullptr;
  // Of an adapter in place: the tensors that keep their codes, and by name the grids that the
  // others were on.
  int64_t moved = 0;
  std::map<std::string, const Grid*> to_round;
};

// How an adapter goes into the weights (merged_rows.h).
enum class Merging : uint8_t { kPlain, kInPlace };

// Opens a .gguf file or a Hugging Face folder. A GGUF file may be of any architecture; a folder
// must be of one that src/model knows. Throws Error.
// `adapter`: put into the weights; empty: none.
Source OpenSource(const std::string& path, const std::string& adapter = "",
                  Merging merging = Merging::kPlain);

// Decodes rows [begin, end) of a tensor in GGUF order to f32, [end - begin, cols]. Throws Error
// (kFormat) naming file, tensor and row if a value is not finite.
void DecodeRows(const Source& source, const GgufTensor& tensor, int64_t begin, int64_t end,
                ThreadPool& pool, float* values);

// The blocks of a row in GGUF order, of a tensor that has its data.
const uint8_t* RowInOrder(const GgufTensor& tensor, int64_t row);

// The bytes of the whole tensor in GGUF order, without decoding.
std::vector<uint8_t> RowsInOrder(const GgufTensor& tensor);

// The source as a checkpoint in the GGUF dialect, to be run: its tensors under their GGUF names,
// rows in GGUF's order.
Checkpoint AsGguf(const Source& source);

// How a tensor lies in a file of the dialect. Throws Error (kUnsupported) where the source's
// architecture is not known.
struct DialectPlace {
  std::vector<std::string> names;  // one; or one for each matrix of a tensor of experts
  int64_t permuted_heads = 0;      // whose rows are in another order than in GGUF
  bool widened = false;  // GGUF has it in f32 whatever it was: norms with an offset, routers
  float offset = 0;      // that GGUF's values are larger by

  // Whether the bytes are GGUF's but for the order of rows.
  bool same_bytes() const { return names.size() == 1 && !widened; }
};
DialectPlace PlaceInDialect(const Source& source, const GgufTensor& tensor, Dialect dialect);

// Whether the dialect keeps the tensor as one: config.json says what rope factors say.
bool HasPlace(const Source& source, const GgufTensor& tensor, Dialect dialect);

// Blocks on `grid` of a tensor's rows, which come in GGUF's order and with its values, as the
// dialect has them, on `file_grid` where values have an offset there.
std::vector<uint8_t> InFileOrder(const GgufTensor& tensor, const DialectPlace& place,
                                 const Grid& grid, const Grid& file_grid,
                                 std::vector<uint8_t> blocks);

// Hands out the bytes of a tensor that is copied, of a place with the same bytes, in the order of
// the dialect, in pieces of some megabytes: the tensor may be larger than memory.
void ForKeptBytes(const GgufTensor& tensor, const DialectPlace& place,
                  const std::function<void(std::span<const uint8_t> piece)>& take);

}  // namespace halftone
