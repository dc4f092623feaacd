#include "container/hf_gptq_zeros.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/half.h"
#include "container/hf_codes.h"
#include "container/hf_packed_rows.h"

namespace halftone {
namespace {

// How many codes tell: the mean of so many has an error of a few hundredths of a step.
constexpr int64_t kSample = 1 << 16;
constexpr int64_t kSampleOfLayer = 1 << 14;
// How near the mean must be to one reading, in steps, to speak against the other.
constexpr double kNear = 0.25;

// 1 in every field of a word.
uint32_t Ones(int bits) { return bits == 2 ? 0x55555555u : bits == 4 ? 0x11111111u : 0x01010101u; }

// A number of `bits` from the words of one row, whose first bit is `bit`.
int Field(const uint8_t* words, int64_t bit, int bits, uint32_t add) {
  const uint32_t mask = (1u << bits) - 1;
  const int64_t word = bit / 32;
  const int shift = static_cast<int>(bit % 32);
  uint64_t two = LoadLe<uint32_t>(words + word * 4) + add;
  if (shift + bits > 32) {
    two &= 0xFFFFFFFFu;
    two |= static_cast<uint64_t>(LoadLe<uint32_t>(words + (word + 1) * 4)) << 32;
  }
  return static_cast<int>(static_cast<uint32_t>(two >> shift) & mask);
}

const uint8_t* ZeroRow(const GptqLayer& layer, int64_t g) {
  return layer.qzeros.data.data() + g * layer.qzeros.shape[1] * 4;
}

int StoredZero(const GptqLayer& layer, int64_t g, int64_t o) {
  return Field(ZeroRow(layer, g), o * layer.bits, layer.bits, 0);
}

// The value that all stored zeros have, if there is one.
std::optional<int> OnlyStoredZero(const GptqLayer& layer) {
  if (layer.groups == 0 || layer.out == 0) return std::nullopt;
  const int first = StoredZero(layer, 0, 0);
  std::vector<uint8_t> fields(static_cast<size_t>(layer.out));
  for (int64_t g = 0; g < layer.groups; ++g) {
    UnpackBits(ZeroRow(layer, g), layer.bits, layer.out, fields.data());
    if (std::ranges::any_of(fields, [&](uint8_t field) { return field != first; })) {
      return std::nullopt;
    }
  }
  return first;
}

// Code - stored zero, summed.
struct Sample {
  double sum = 0;
  int64_t count = 0;
};

// Takes the first inputs of a layer, as many as whole words hold whatever their bits.
void AddSample(const GptqLayer& layer, Sample& sample) {
  const int64_t inputs = std::min<int64_t>(layer.in, 32);
  const int64_t outputs = std::min(layer.out, kSampleOfLayer / 32);
  const int64_t words = PackedWords(inputs, layer.bits);
  std::vector<uint32_t> columns(static_cast<size_t>(outputs * words));
  GatherColumns(layer.qweight.data.data(), words, layer.out, 0, outputs, columns.data(), words);
  std::vector<uint8_t> codes(static_cast<size_t>(inputs));
  for (int64_t o = 0; o < outputs; ++o) {
    UnpackBits(reinterpret_cast<const uint8_t*>(columns.data() + o * words), layer.bits, inputs,
               codes.data());
    for (int64_t i = 0; i < inputs; ++i) {
      sample.sum += codes[i] - StoredZero(layer, layer.group_at(i), o);
    }
  }
  sample.count += inputs * outputs;
}

// Whether the codes show that the zeros are stored less one; none where they do not tell.
std::optional<bool> CodesTell(std::span<const GptqLayer> layers) {
  Sample sample;
  for (const GptqLayer& layer : layers) {
    if (layer.bits < 8 && sample.count < kSample) AddSample(layer, sample);
  }
  if (sample.count < kSampleOfLayer) return std::nullopt;
  const double mean = sample.sum / static_cast<double>(sample.count);
  if (std::fabs(mean) < kNear) return false;
  if (std::fabs(mean - 1) < kNear) return true;
  return std::nullopt;
}

}  // namespace

int GptqZero(const GptqLayer& layer, int64_t g, int64_t o) {
  if (layer.symmetric) return 1 << (layer.bits - 1);
  if (!layer.zeros_less_one) return StoredZero(layer, g, o);
  if (layer.bits == 3) return (StoredZero(layer, g, o) + 1) & 7;
  return Field(ZeroRow(layer, g), o * layer.bits, layer.bits, Ones(layer.bits));
}

void SettleZeros(const GptqSettings& settings, std::span<GptqLayer> layers) {
  const bool less_one = settings.symmetric.value_or(true)
                            ? settings.zeros_less_one
                            : CodesTell(layers).value_or(settings.zeros_less_one);
  for (GptqLayer& layer : layers) {
    layer.zeros_less_one = less_one;
    if (!settings.symmetric.value_or(true)) continue;
    const int middle = 1 << (layer.bits - 1);
    const std::optional<int> only = OnlyStoredZero(layer);
    layer.symmetric = only == middle || only == middle - 1;
    if (layer.symmetric) layer.zeros_less_one = only == middle - 1;
  }
}

}  // namespace halftone
