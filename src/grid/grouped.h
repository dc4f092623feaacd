// Grids made of parameters: groups of weights along a row that share one scale, as the checkpoints
// of GPTQ, AWQ, bitsandbytes and compressed-tensors have them. They differ in bits, group, scale
// and levels only, so there is one family here instead of a name for each combination.
//
//   a block is one group:
//     scale   2 or 4 bytes (spec.scale)
//     zero    1 byte, where integers are asymmetric
//     codes   spec.bits each: 4 bits as in nibbles.h where the group is a multiple of 32 (code e of
//             each 32 in byte e % 16, low half for e < 16), otherwise one after another from the
//             lowest bit of the first byte on
//   weight e = round(((level[code[e]] - zero) * scale) * spec.after), rounded to spec.value
//
// This is a layout in memory. In files codes, scales and zeros are tensors of their own and the
// containers translate; no information is added or lost.
//
// Names: int4:g128, int4:g128:asym, int8:row, nf4:g64, fp4:g64, fp8:row, int8:row:absmax (after is
// 1/127); where scales and values are not f16 (nf4 and fp4: scales f32, values bf16; absmax: both
// f32) the type follows, int4:g32:bf16. nf4:g64:dq is nf4:g64 for a file that keeps the scales as
// 8-bit codes (bitsandbytes' double quantization).
//
// Sources: AutoGPTQ and GPTQModel (f16 products), AutoAWQ, bitsandbytes (NF4 and FP4 tables;
// Dettmers et al. 2023, arXiv:2305.14314), compressed-tensors.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "grid/grid.h"

namespace halftone {

enum class GroupedLevels : uint8_t {
  kInteger,  // code - 2^(bits - 1), or code - zero
  kNf4,      // the 16 quantiles of NF4
  kFp4,      // bitsandbytes' sign, 3 bits; not E2M1
  kE2m1,     // 4-bit floats of the OCP microscaling formats
  kE4m3,     // 8-bit floats without infinities (OCP "fn")
};

struct GroupedSpec {
  GroupedLevels levels = GroupedLevels::kInteger;
  int bits = 4;
  int group = 128;        // weights that share a scale; 0: the whole row
  bool symmetric = true;  // integers only
  Real scale = Real::kF16;
  Real value = Real::kF16;
  float after = 1;  // bitsandbytes' int8 keeps the largest magnitude for a scale: 1/127
  // bitsandbytes' double quantization. It spans groups of several rows, so that blocks have scales
  // as ever and the container quantizes them; nothing here depends on it but the name.
  bool nested = false;

  bool operator==(const GroupedSpec&) const = default;
};

// The grid with these parameters for rows of `cols` weights (they matter only where the group is
// the row). The record lives as long as the program; equal parameters give the same record. Throws
// Error (kUnsupported) for bits outside 2, 3, 4, 8 and groups that are not whole bytes.
const Grid& GroupedGrid(const GroupedSpec& spec, int64_t cols);

// The parameters that a name stands for, or none.
std::optional<GroupedSpec> ParseGroupedName(std::string_view name);
std::string GroupedName(const GroupedSpec& spec);

// The parts of a block.
int ScaleBytes(Real real);
float LoadReal(Real real, const void* p);
void StoreReal(Real real, float value, void* p);
float RoundToReal(Real real, float value);

// Codes of a block, one a byte, in the order of the weights.
void UnpackGroupedCodes(const Grid& grid, const uint8_t* block, uint8_t* codes);
// The block of parameters and codes; zero is ignored where integers are symmetric.
void PackGroupedBlock(const Grid& grid, float scale, int zero, const uint8_t* codes,
                      uint8_t* block);

// Whether rows have one scale that is their largest magnitude, and 8-bit codes: the weights that
// LLM.int8() multiplies (int8:row:absmax).
bool IsAbsmaxRows(const Grid& grid);

// The level of each code before scale and zero are applied; 2^bits of them. Integers give
// code - 2^(bits - 1) where symmetric and code where not.
std::span<const float> LevelsOfCodes(const Grid& grid);

// Some usual members of the family, for lists and tests.
std::span<const Grid* const> UsualGroupedGrids();

}  // namespace halftone
