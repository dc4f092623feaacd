// A GGUF file: its structure, what it says of the model, and its tokenizer.

#include "container/gguf_reader.h"
#include "model/architecture.h"
#include "model/hyperparameters.h"
#include "tests/fuzz/targets.h"
#include "tests/testing/damage.h"
#include "tokenizer/tokenizer.h"

namespace halftone {

void Fuzz_gguf(std::string_view bytes) {
  static const MemoryFile file;
  Checkpoint checkpoint;
  try {
    checkpoint = ReadGguf(file.Write(bytes));
  } catch (const Error&) {
    return;
  }
  uint64_t sum = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    if (tensor.data.size() != tensor.bytes()) std::abort();
    for (const uint8_t byte : tensor.data) sum += byte;
  }
  for (const auto& [key, value] : checkpoint.metadata.entries()) sum += ValueText(value).size();
  [[maybe_unused]] static volatile uint64_t sink;
  sink = sum;
  MayRefuse([&] { ReadHyperparameters(checkpoint, ArchitectureOf(checkpoint)); });
  MayRefuse([&] {
    const auto tokenizer = Tokenizer::FromMetadata(checkpoint.metadata, "model.gguf");
    for (const bool special : {false, true}) {
      for (const int32_t id : tokenizer->Encode("A text, 12345 \xC3\xA9\xFF </s>", special)) {
        tokenizer->TokenText(id, special);
      }
    }
  });
}

}  // namespace halftone
