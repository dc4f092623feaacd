// Codes as Hugging Face's checkpoints pack them, translated to and from the blocks of
// grid/grouped.h; and other small things that several of these containers need.

#pragma once

#include <cstdint>

#include "container/safetensors_file.h"
#include "grid/grouped.h"

namespace halftone {

// Which half of a byte holds the first of its two codes.
enum class FirstNibble : uint8_t { kLow, kHigh };

// The codes of a block of 4-bit weights, two a byte in their order, into the block's order
// (grouped.h) and back. n: weights in the block, even.
void NibblesToBlock(const uint8_t* packed, FirstNibble first, int n, uint8_t* block);
void NibblesFromBlock(const uint8_t* block, FirstNibble first, int n, uint8_t* packed);

// n signed bytes as codes of 8 bits and back: code = value + 128.
void FlipSigns(const uint8_t* from, int64_t n, uint8_t* to);

// n codes of `bits` (1 to 8) from a stream that begins with the lowest bit of the first byte, one
// code a byte; and the stream of n codes.
void UnpackBits(const uint8_t* packed, int bits, int64_t n, uint8_t* codes);
void PackBits(const uint8_t* codes, int bits, int64_t n, uint8_t* packed);

// The dtype and the grid of plain numbers of this type.
const SafetensorsDtype& DtypeOf(Real real);
const Grid& PlainGrid(Real real);
// Stores a number rounded to the type as it is: infinities and NaN included.
void StoreNumber(Real real, float value, uint8_t* p);

// Where every group lies within blocks: for `group` weights that share a scale in rows of `cols`,
// the largest common divisor; 0 where that is too small (or large) for blocks of grid/grouped.h.
int BlockWithin(int64_t group, int64_t cols);

}  // namespace halftone
